package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bothways/internal/api"
	v1 "bothways/internal/api/v1"
	"bothways/internal/table"
)

func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "table", "table or json")
	words := cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("output", words); err != nil {
		panic("bothways: " + err.Error())
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func showCommand(socket *string) *cobra.Command {
	cmd := &cobra.Command{Use: "show", Short: "Show the state"}
	cmd.AddCommand(
		show(socket, "paths", "The ways out", pathTable),
		show(socket, "links", "The adjacencies of each path", linkTable),
		show(socket, "sessions", "BGP with each neighbor", sessionTable),
		routesCommand(socket),
		show(socket, "rankings", "Which links traffic uses, in which order", rankingTable),
		show(socket, "nat", "What becomes of inside addresses on each path", natTable),
		show(socket, "tracks", "The evidence about each link", trackTable),
		show(socket, "asymmetry", "What comes back by another path, and what does not come back", asymmetryTable),
		show(socket, "symmetry", "By which paths replies come, from what is announced now", symmetryTable),
		show(socket, "proofs", "Whether replies to each link's addresses come back by its path", proofTable),
		show(socket, "events", "What happened", eventTable),
		show(socket, "status", "The daemon and the kernel at a glance", statusTable),
	)
	return cmd
}

// show is a verb without arguments: one question, one table.
func show[T any](socket *string, what, short string, tables func(T) []table.Table) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use: what, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v T
			if err := api.NewClient(*socket).Get(cmd.Context(), what, nil, &v); err != nil {
				return err
			}
			return printValue(cmd.OutOrStdout(), output, v, tables)
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func printValue[T any](w io.Writer, output string, v T, tables func(T) []table.Table) error {
	switch output {
	case "json":
		return printJSON(w, v)
	case "table":
	default:
		return fmt.Errorf("output: want table or json, found %q", output)
	}
	for i, t := range tables(v) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := t.Write(w, isTerminal(w)); err != nil {
			return err
		}
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func routesCommand(socket *string) *cobra.Command {
	output, rejected, link, v6, limit := "", false, "", false, 0
	cmd := &cobra.Command{
		Use:   "routes [PREFIX|ADDRESS]",
		Short: "What the links learned, best first; for a destination: all that covers it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if len(args) > 0 {
				q.Set("prefix", args[0])
			}
			if rejected {
				q.Set("rejected", "true")
			}
			if link != "" {
				q.Set("link", link)
			}
			if v6 {
				q.Set("family", "ipv6")
			}
			all, err := fetchRoutes(cmd, *socket, q, limit)
			if err != nil {
				return err
			}
			return printValue(cmd.OutOrStdout(), output, all, routeTable)
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&rejected, "rejected", false, "those that policy rejected, with the reason")
	cmd.Flags().StringVar(&link, "link", "", "of one link only")
	cmd.Flags().BoolVarP(&v6, "ipv6", "6", false, "IPv6 instead of IPv4")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many; 0: all")
	return cmd
}

// fetchRoutes asks page by page, so that no single answer holds the daemon up.
func fetchRoutes(cmd *cobra.Command, socket string, q url.Values, limit int) (v1.Routes, error) {
	c := api.NewClient(socket)
	all := v1.Routes{Routes: []v1.Route{}}
	for {
		if limit > 0 {
			q.Set("limit", strconv.Itoa(min(limit-len(all.Routes), 1000)))
		}
		var page v1.Routes
		if err := c.Get(cmd.Context(), "routes", q, &page); err != nil {
			return all, err
		}
		all.Answer = page.Answer
		all.More = page.More
		n := len(page.Routes)
		if page.More && (limit == 0 || len(all.Routes)+n < limit) {
			// The last prefix of a full page may have more routes than fitted: ask for it again.
			last := page.Routes[n-1].Prefix
			for n > 0 && page.Routes[n-1].Prefix == last {
				n--
			}
			if n == 0 {
				n = len(page.Routes)
			}
		}
		all.Routes = append(all.Routes, page.Routes[:n]...)
		if !page.More || limit > 0 && len(all.Routes) >= limit || n == 0 {
			return all, nil
		}
		q.Set("after", page.Routes[n-1].Prefix)
	}
}

func stateTone(s string) table.Tone {
	switch s {
	case "up", "Established", "established", "living", "set":
		return table.Good
	case "degraded", "drained", "stale", "no-target":
		return table.Warn
	case "down", "Idle", "dropped":
		return table.Bad
	}
	return table.Plain
}

func state(s string) table.Cell { return table.Text(s).Toned(stateTone(s)) }

func count(n int) table.Cell { return table.Number(strconv.Itoa(n)) }

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// tiers prints a ranking: links of a tier with +, their weight behind *, tiers with > between.
func tiers(all [][]string, weights map[string]int) string {
	var out []string
	for _, t := range all {
		var names []string
		for _, name := range t {
			if w := weights[name]; w > 1 && len(t) > 1 {
				name = fmt.Sprintf("%s*%d", name, w)
			}
			names = append(names, name)
		}
		out = append(out, strings.Join(names, " + "))
	}
	return strings.Join(out, " > ")
}
