package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"bothways/internal/lab"
	"bothways/internal/lab/demo"
)

func demoCommand() *cobra.Command {
	var f raiseFlags
	once := false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the edge at work in the default world: what fails, what services see, how long it takes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inside(func() error { return runDemo(cmd.Context(), cmd.OutOrStdout(), &f, once) })
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "unattended: end with a table of claims; exit status 0 only if all hold")
	return cmd
}

var errClaims = errors.New("not all claims hold")

func runDemo(ctx context.Context, out io.Writer, f *raiseFlags, once bool) error {
	program, err := f.program()
	if err != nil {
		return err
	}
	w, err := raise(ctx, f, true)
	if err != nil {
		return err
	}
	defer w.Close()
	d := demo.New(w, program, out)
	err = d.Run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	all := d.Table()
	if err != nil {
		return err
	}
	if !once {
		lookAround(ctx, out, w, program)
		return nil
	}
	if !all {
		return errClaims
	}
	return nil
}

// lookAround says how to look at a world, and waits.
func lookAround(ctx context.Context, out io.Writer, w *lab.World, program string) {
	fmt.Fprintf(out, `
The world stays up until Ctrl-C. From another terminal:

  %[1]s --socket %[2]s show links
  %[1]s --socket %[2]s show rankings          (also: paths, sessions, routes, nat, events, status)
  bothways-lab ask storage                    (what a service sees; also: vpn-gateway, registry; -6)
  bothways-lab fail expressroute/primary      (also: --silent, session:isp-a/main, host:storage)
  bothways-lab heal
  bothways-lab status

The edge's configuration and log: %[3]s %[4]s
`, program, w.EdgeSocket(), w.EdgeFile(), w.EdgeLog())
	<-ctx.Done()
}
