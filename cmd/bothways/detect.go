package main

import (
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	bfd "bothways/internal/bfd/session"
	"bothways/internal/config"
	"bothways/internal/engine"
	"bothways/internal/handover"
	"bothways/internal/probe"
	"bothways/internal/proof"
	"bothways/internal/route"
)

// bfdChild is the verb of the process that speaks BFD, so that nothing that the daemon does makes it late.
const bfdChild = "bfd-child"

func bfdChildCommand() *cobra.Command {
	return &cobra.Command{
		Use: bfdChild, Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			// The parent says when it ends; a signal for the group must not come first.
			signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			return bfd.Serve(os.NewFile(3, "bfd"), slog.New(slog.NewTextHandler(os.Stderr, nil)))
		},
	}
}

// detector runs BFD sessions, and translates their events.
type detector struct {
	*bfd.Process
	log *slog.Logger
}

func newDetector(log *slog.Logger, kept *handover.Store, tell func(engine.Event)) *detector {
	sink := func(e bfd.Event) {
		switch e := e.(type) {
		case bfd.Up:
			tell(engine.BFDChanged{Key: sessionKey(e.Name), Up: true, Why: "neighbor is heard"})
		case bfd.Down:
			tell(engine.BFDChanged{Key: sessionKey(e.Name), Admin: e.Admin, Why: e.Reason, Heard: e.Heard})
		}
	}
	p := bfd.NewProcess(log, sink, "/proc/self/exe", bfdChild)
	if kept.Keeps() {
		p.KeepWith(func(wire *os.File) {
			err := error(nil)
			if wire != nil {
				err = kept.Put(keptBFD, wire)
			} else {
				err = kept.Remove(keptBFD)
			}
			if err != nil {
				log.Warn("the bfd process does not outlive a crash", "error", err)
			}
		})
	}
	return &detector{p, log}
}

// sessionKey is the reverse of SessionKey.String.
func sessionKey(name string) engine.SessionKey {
	if link, ok := strings.CutSuffix(name, " ipv6"); ok {
		return engine.SessionKey{Link: link, Family: route.IPv6}
	}
	return engine.SessionKey{Link: name, Family: route.IPv4}
}

// Detect implements engine.Detector.
func (d *detector) Detect(want []engine.DetectParams) {
	var list []bfd.Config
	for _, p := range want {
		list = append(list, bfd.Config{Name: p.Key.String(), Interface: p.Interface, Local: p.Local, Neighbor: p.Neighbor,
			Interval: p.Interval, Multiplier: p.Multiplier})
	}
	if err := d.Set(list); err != nil {
		d.log.Error("bfd is not set up", "error", err)
	}
}

// prober probes links, and translates the results.
type prober struct {
	*probe.Prober
	log *slog.Logger

	mu    sync.Mutex // guards names, which Probe replaces while results come
	names map[probe.Target]string
}

func newProber(log *slog.Logger, tell func(engine.Event)) *prober {
	p := &prober{log: log}
	p.Prober = probe.New(log, func(r probe.Result) {
		result := r.Track()
		p.mu.Lock()
		name, ok := p.names[r.Target]
		p.mu.Unlock()
		if ok {
			result.Target = name
			tell(engine.Probed{Key: engine.SessionKey{Link: r.Link, Family: route.FamilyOf(r.Target.Address)}, Result: result, Sent: r.Sent})
		}
	})
	return p
}

// Probe implements engine.Prober.
func (p *prober) Probe(want []engine.ProbeLink) {
	names := map[probe.Target]string{}
	var list []probe.Config
	for _, l := range want {
		c := probe.Config{Link: l.Link, Interface: l.Interface, Source4: l.Sources[0], Source6: l.Sources[1], Mark: l.Mark, Every: l.Every, Timeout: l.Timeout}
		for _, t := range l.Targets {
			target := probeTarget(t)
			names[target] = t.String()
			c.Targets = append(c.Targets, target)
		}
		list = append(list, c)
	}
	p.mu.Lock()
	p.names = names
	p.mu.Unlock()
	if err := p.Set(list); err != nil {
		p.log.Error("probes are not set up", "error", err)
	}
}

// prover sends proofs, and translates what came of them.
type prover struct{ *probe.Prover }

func newProver(tell func(engine.Event)) prover {
	return prover{probe.NewProver(func(r probe.ProofResult) {
		target := proof.Target{Protocol: proof.Protocol(r.Target.Kind), Address: r.Target.Address, Port: r.Target.Port}
		tell(engine.Proved{Subject: proof.Subject{Link: r.Link, Address: r.Address}, Target: target, Sent: r.Sent, Index: r.Index, RTT: r.RTT, Why: r.Why, Unsent: r.Unsent})
	})}
}

// Prove implements engine.Prover.
func (p prover) Prove(q engine.ProofParams) {
	p.Prover.Prove(probe.Proof{Link: q.Link, Interface: q.Interface, Source: q.Source, Mark: q.Mark, Address: q.Address, Token: q.Token,
		Target: probe.Target{Kind: probe.Kind(q.Target.Protocol), Address: q.Target.Address, Port: q.Target.Port}, Timeout: q.Timeout})
}

func probeTarget(p config.Probe) probe.Target {
	return probe.Target{Kind: probe.Kind(p.Kind), Address: p.Address, Port: p.Port, URL: p.URL}
}
