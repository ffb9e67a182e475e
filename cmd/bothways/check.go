package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bothways/internal/config"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration, also against what the providers document",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := load(args[0])
			if err != nil {
				return err
			}
			bad := false
			for _, f := range config.Lint(c) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", args[0], f)
				bad = bad || f.Severity == config.SeverityError
			}
			if bad {
				return errSaid
			}
			links := 0
			for _, p := range c.Paths {
				links += len(p.Links)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: site %s, %d paths with %d links, %d steer rules: good\n", args[0], c.Site, len(c.Paths), links, len(c.Steer))
			return nil
		},
	}
}

// load reads a configuration.
func load(file string) (*config.Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return config.Parse(f, file, os.ReadFile)
}

// loadToRun reads a configuration and refuses one with findings that are errors.
func loadToRun(file string) (*config.Config, []config.Finding, error) {
	c, err := load(file)
	if err != nil {
		return nil, nil, err
	}
	var warnings []config.Finding
	for _, f := range config.Lint(c) {
		if f.Severity == config.SeverityError {
			return nil, nil, fmt.Errorf("%s: %s", file, f)
		}
		warnings = append(warnings, f)
	}
	return c, warnings, nil
}
