package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"bothways/internal/api"
	v1 "bothways/internal/api/v1"
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
			for _, f := range running(cmd.Context(), c) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: running: %s: %s: %s (%s)\n", args[0], f.Severity, f.Subject, f.Text, f.Reason)
				bad = bad || f.Severity == string(config.SeverityError)
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

// runningTime is how long a daemon that runs may take to answer.
const runningTime = 2 * time.Second

// running are the findings of a daemon that runs for the same site on this machine; none where it does not.
func running(ctx context.Context, c *config.Config) []v1.Finding {
	ctx, cancel := context.WithTimeout(ctx, runningTime)
	defer cancel()
	var st v1.Status
	if api.NewClient(c.API.Socket).Get(ctx, "status", nil, &st) != nil || st.Site != c.Site {
		return nil
	}
	return st.Findings
}

// load reads a configuration.
func load(file string) (*config.Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return config.Parse(f, file, readSmall)
}

// maxSmall is more than a password's file can need.
const maxSmall = 1 << 12

// readSmall reads a file that is named in a configuration, and may be anything.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(data) > maxSmall {
		err = fmt.Errorf("%s: want at most %d bytes, found more", name, maxSmall)
	}
	return data, err
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
