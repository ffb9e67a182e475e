// Command bench measures Bothways beside the routers that people would take instead, in one run on one machine, and
// writes what it found as a document.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"bothways/bench/router"
	"bothways/bench/site"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == router.GoBGPCommand {
		if err := router.RunGoBGP(context.Background(), os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 3 && os.Args[1] == site.SenderCommand {
		if err := site.Send(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "stream sender:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	b := &bench{log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	var names []string
	for _, c := range cases() {
		names = append(names, c.name)
	}
	only := flag.String("only", "", "cases, separated by commas: "+strings.Join(names, ", ")+" (default: all)")
	routers := flag.String("routers", "", "routers, separated by commas (default: all)")
	out := flag.String("o", "", "file to write the results to (default: standard output)")
	env := flag.String("env", "", "variables for the daemon's environment, separated by spaces")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each measurement")
	flag.IntVar(&b.bfdRounds, "bfd-rounds", 100, "rounds of silent loss with BFD")
	flag.IntVar(&b.routes, "routes", 1_000_000, "routes of a generated table")
	flag.StringVar(&b.daemon, "daemon", "bin/bothways", "the daemon's program")
	flag.Parse()
	if *routers != "" {
		b.only = strings.Split(*routers, ",")
	}
	b.env = strings.Fields(*env)
	var stop context.CancelFunc
	b.ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var wanted []string
	if *only != "" {
		wanted = strings.Split(*only, ",")
		for _, w := range wanted {
			if !slices.Contains(names, w) {
				return fmt.Errorf("-only: want some of %s, found %q", strings.Join(names, ", "), w)
			}
		}
	}
	doc := document{began: time.Now(), machine: thisMachine(), rounds: b.rounds, routes: b.routes, versions: b.versions()}
	for _, c := range cases() {
		if wanted != nil && !slices.Contains(wanted, c.name) || b.ctx.Err() != nil {
			continue
		}
		b.log.Info("case", "name", c.name)
		doc.cases = append(doc.cases, done{c, c.run(b)})
	}
	if *out == "" {
		_, err := fmt.Print(doc.markdown())
		return err
	}
	return os.WriteFile(*out, []byte(doc.markdown()), 0o644)
}

func (b *bench) versions() []string {
	var out []string
	for _, k := range b.kinds("Bothways", "BIRD", "FRR", "OpenBGPD", "GoBGP") {
		r := k.make()
		if why := r.Missing(); why != "" {
			out = append(out, k.name+": "+why)
			continue
		}
		out = append(out, r.Version())
	}
	return out
}
