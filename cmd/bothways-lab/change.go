package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bothways/internal/lab"
	"bothways/internal/lab/world"
)

func failCommand(dir *string) *cobra.Command {
	silent := false
	cmd := &cobra.Command{
		Use:   "fail NAME",
		Short: "Make a link (expressroute/primary), a session (session:expressroute/primary) or a host (host:storage) fail",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, err := lab.Call(*dir, lab.Request{Verb: "fail", Name: args[0], Silent: silent})
			return err
		},
		ValidArgsFunction: names(dir),
	}
	cmd.Flags().BoolVar(&silent, "silent", false, "the carrier stays, and nothing is heard any more")
	return cmd
}

func healCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "heal [NAME]",
		Short: "Take a failure back, or all of them",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, err := lab.Call(*dir, lab.Request{Verb: "heal", Name: strings.Join(args, "")})
			return err
		},
		ValidArgsFunction: names(dir),
	}
}

func names(dir *string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		r, err := lab.Call(*dir, lab.Request{Verb: "status"})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return r.Status.Names, cobra.ShellCompDirectiveNoFileComp
	}
}

func statusCommand(dir *string) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What the far side sees, and what fails",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := lab.Call(*dir, lab.Request{Verb: "status"})
			if err != nil {
				return err
			}
			if output == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(r.Status)
			}
			printStatus(cmd.OutOrStdout(), r.Status)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printStatus(out io.Writer, s *lab.Status) {
	fmt.Fprintf(out, "world %s in %s\n\n%-18s  %-24s  %-8s  %-22s  %s\n", s.World, s.Dir, "ROUTER", "LINK", "STATE", "SESSIONS", "LEARNED FROM THE SITE")
	for _, r := range s.Routers {
		state := word(s.Failures[r.Link])
		var sessions []string
		for _, session := range r.Sessions {
			family := "v4"
			if session.Peer.Is6() {
				family = "v6"
			}
			up := "down"
			if session.Established {
				up = "up"
			}
			sessions = append(sessions, family+" "+up)
		}
		if f := s.Failures["session:"+r.Link]; f.Failed {
			sessions = append(sessions, word(f))
		}
		if len(sessions) == 0 {
			sessions = []string{"no BGP"}
		}
		fmt.Fprintf(out, "%-18s  %-24s  %-8s  %-22s  %s\n", r.Name, r.Link, state, strings.Join(sessions, ", "), strings.Join(r.Learned, " "))
	}
	var dead []string
	for name := range s.Failures {
		if strings.HasPrefix(name, "host:") {
			dead = append(dead, name)
		}
	}
	slices.Sort(dead)
	for _, name := range dead {
		fmt.Fprintf(out, "%s: failed\n", name)
	}
}

func word(f lab.Failure) string {
	switch {
	case f.Silent:
		return "silent"
	case f.Failed:
		return "failed"
	}
	return "well"
}

func askCommand(dir *string) *cobra.Command {
	from, v6 := "", false
	cmd := &cobra.Command{
		Use:   "ask HOST|ADDRESS",
		Short: "Ask a service what it sees of an inside host",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := lab.Call(*dir, lab.Request{Verb: "ask", Name: from, To: args[0], V6: v6})
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s sees %s as %s, by %s\n", r.Answer.Host, from, r.Answer.SeenAs, r.Answer.Via)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&from, "from", "client", "the inside host that asks")
	cmd.Flags().BoolVarP(&v6, "ipv6", "6", false, "a host's IPv6 address")
	return cmd
}

func describeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe",
		Short: "Print the description of the default world, to make others from",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(world.DefaultFile())
			return err
		},
	}
}
