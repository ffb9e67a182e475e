// Command bothways-lab raises worlds in network namespaces, makes things in them fail, and shows what happens.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"bothways/internal/lab"
)

func main() {
	lab.Main()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	root := &cobra.Command{
		Use:           "bothways-lab",
		Short:         "Worlds in network namespaces: a site with two ways out, and everything around it",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	dir := ""
	root.PersistentFlags().StringVar(&dir, "world", "", "the directory of the world to speak to (the only one that stands)")
	root.AddCommand(upCommand(), demoCommand(), failCommand(&dir), healCommand(&dir), statusCommand(&dir), askCommand(&dir), describeCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bothways-lab:", err)
		os.Exit(1)
	}
}
