package main

import (
	"github.com/spf13/cobra"

	"bothways/internal/api"
	v1 "bothways/internal/api/v1"
)

func stopCommand(socket *string) *cobra.Command {
	var body v1.Stop
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "End the daemon; the kernel forwards on unless --withdraw is given",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return api.NewClient(*socket).Post(cmd.Context(), "stop", body)
		},
	}
	cmd.Flags().BoolVar(&body.Withdraw, "withdraw", false, "take routes, rules and translation out of the kernel")
	cmd.Flags().StringVarP(&body.Message, "message", "m", "", "shutdown communication for the neighbors (RFC 9003)")
	return cmd
}

func reloadCommand(socket *string) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Read the configuration again, all or nothing; as SIGHUP, but with an answer",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return api.NewClient(*socket).Post(cmd.Context(), "reload", struct{}{})
		},
	}
}
