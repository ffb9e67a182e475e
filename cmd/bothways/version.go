package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	v1 "bothways/internal/api/v1"
)

// version is set when a release is built.
var version = "development"

func thisVersion() v1.Version {
	v := v1.Version{Version: version, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok && version == "development" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v.Version = "development " + s.Value[:12]
			}
		}
	}
	return v
}

func versionCommand() *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which version this is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := thisVersion()
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), v)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "bothways %s (%s)\n", v.Version, v.Go)
			return nil
		},
	}
	outputFlag(cmd, &output)
	return cmd
}
