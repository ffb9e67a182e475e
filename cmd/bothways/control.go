package main

import (
	"time"

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
			c := api.NewClient(*socket)
			if err := c.Post(cmd.Context(), "stop", body); err != nil {
				return err
			}
			return c.Gone(cmd.Context(), stopTime)
		},
	}
	cmd.Flags().BoolVar(&body.Withdraw, "withdraw", false, "take routes, rules and translation out of the kernel")
	cmd.Flags().StringVarP(&body.Message, "message", "m", "", "shutdown communication for the neighbors (RFC 9003)")
	return cmd
}

// stopTime is how long stop waits for the daemon to end: longer than neighbors may take to read their last message.
const stopTime = 15 * time.Second

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

func drainCommand(socket *string, on bool) *cobra.Command {
	body := v1.Drain{On: on}
	cmd := &cobra.Command{
		Use:   "drain LINK",
		Short: "Prefer every other link to one, until undrain",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body.Link = args[0]
			return api.NewClient(*socket).Post(cmd.Context(), "drain", body)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var links []v1.Link
			if len(args) > 0 || api.NewClient(*socket).Get(cmd.Context(), "links", nil, &links) != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, l := range links {
				names = append(names, l.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	if on {
		cmd.Flags().BoolVar(&body.Move, "move", false, "take existing connections along")
	} else {
		cmd.Use, cmd.Short = "undrain LINK", "Use a drained link again"
	}
	return cmd
}
