// Command bothways is the edge of a site with two ways out: daemon and client in one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bothways/internal/config"
)

func main() {
	os.Exit(status(root().ExecuteContext(context.Background())))
}

// status prints an error as one line, or one line a problem, and gives the exit status.
func status(err error) int {
	if err == nil {
		return 0
	}
	if !errors.Is(err, errSaid) {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

// errSaid is an error about which everything is printed already.
var errSaid = errors.New("said already")

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "bothways",
		Short:         "Two ways out, the same way back",
		Long:          "Bothways holds Internet lines and a private circuit to the same cloud services on one Linux edge.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	socket := cmd.PersistentFlags().String("socket", config.DefaultSocket, "the daemon's socket")
	cmd.AddCommand(runCommand(), checkCommand(), showCommand(socket), stopCommand(socket), bfdChildCommand(), reloadCommand(socket), restartCommand(socket), drainCommand(socket, true), drainCommand(socket, false), versionCommand())
	return cmd
}
