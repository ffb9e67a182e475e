package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"bothways/internal/lab"
	"bothways/internal/lab/world"
)

// raiseFlags are what up and demo share.
type raiseFlags struct {
	file, edge string
	verbose    bool
	equal      bool
}

func (f *raiseFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "the description of the world (the default world)")
	cmd.Flags().StringVar(&f.edge, "edge", "", "the program of the edge (bothways beside this one, or in PATH)")
	cmd.Flags().BoolVar(&f.equal, "equal-index", false, "interface indexes as network cards have them")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log what the world does")
}

func (f *raiseFlags) describe() (*world.World, error) {
	w := world.Default()
	if f.file != "" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		if w, err = world.Parse(file); err != nil {
			return nil, fmt.Errorf("%s: %w", f.file, err)
		}
	}
	w.EqualIndex = w.EqualIndex || f.equal
	return w, nil
}

func (f *raiseFlags) log() *slog.Logger {
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// program finds the edge's program.
func (f *raiseFlags) program() (string, error) {
	if f.edge != "" {
		return filepath.Abs(f.edge)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "bothways")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath("bothways")
	if err != nil {
		return "", errors.New("no program bothways beside this one or in PATH: build it (make build), or name it with --edge")
	}
	return path, nil
}

// inside runs f where worlds can be raised.
func inside(f func() error) error {
	status, done, err := lab.Enter()
	switch {
	case err != nil:
		return err
	case done && status != 0:
		os.Exit(status) // the other process has said why
	case done:
		return nil
	}
	return f()
}

func upCommand() *cobra.Command {
	var f raiseFlags
	bare := false
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Raise a world with the edge in it, until Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inside(func() error { return up(cmd.Context(), cmd.OutOrStdout(), &f, bare) })
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&bare, "no-edge", false, "without an edge")
	return cmd
}

func up(ctx context.Context, out io.Writer, f *raiseFlags, bare bool) error {
	w, err := raise(ctx, f, bare)
	if err != nil {
		return err
	}
	defer w.Close()
	fmt.Fprintf(out, "world %s stands in %s\n", w.Description.Name, w.Dir)
	if !bare {
		fmt.Fprintf(out, "  bothways --socket %s show links\n", w.EdgeSocket())
	}
	fmt.Fprintln(out, "Ctrl-C ends it")
	<-ctx.Done()
	return nil
}

// raise raises a world and starts the edge in it.
func raise(ctx context.Context, f *raiseFlags, bare bool) (*lab.World, error) {
	d, err := f.describe()
	if err != nil {
		return nil, err
	}
	program := ""
	if !bare {
		if program, err = f.program(); err != nil {
			return nil, err
		}
	}
	w, err := lab.Start(ctx, d, f.log())
	if err != nil || bare {
		return w, err
	}
	start, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := w.StartEdge(start, lab.EdgeOptions{Binary: program}); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}
