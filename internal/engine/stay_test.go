package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bothways/internal/kernel/kerneltest"
	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/route"
)

// stays follows what is written, step by step.
type stays struct {
	k       *kerneltest.Kernel
	carrier [5]bool
}

var stayTo = []netip.Addr{netip.MustParseAddr("20.0.0.1"), netip.MustParseAddr("20.64.1.1"), netip.MustParseAddr("20.128.0.9"), netip.MustParseAddr("20.192.7.7"), netip.MustParseAddr("9.9.9.9")}

// follow checks each step since the last time: a connection that sticks to a link before and behind them goes by it at each.
func (s *stays) follow(t *rapid.T, w *world, what string) {
	w.written(t)
	steps := w.kernel.Applied()
	type conn struct {
		mark  uint32
		index int
		dst   netip.Addr
	}
	var all []conn
	for _, l := range w.engine.links {
		if l.index == 0 || !w.carrier[l.index] || !s.carrier[l.index] {
			continue
		}
		for _, dst := range stayTo {
			c := conn{uint32(l.number), l.index, dst}
			own := []int{l.index}
			if slices.Equal(way(s.k, c.mark, dst), own) && slices.Equal(way(w.kernel, c.mark, dst), own) && sticks(s.k, c.mark) && sticks(w.kernel, c.mark) {
				all = append(all, c)
			}
		}
	}
	for i, up := range w.carrier {
		if i > 0 && up != s.carrier[i] {
			s.k.SetCarrier(i, up)
		}
	}
	s.carrier = w.carrier
	var done []string
	for i := 0; ; i++ {
		for _, c := range all {
			if got := way(s.k, c.mark, c.dst); !slices.Equal(got, []int{c.index}) {
				t.Fatalf("%s: a connection of link %d on %d to %s goes by %v after\n%s", what, c.mark, c.index, c.dst, got, strings.Join(done, "\n"))
			}
		}
		if i == len(steps) {
			break
		}
		s.k.Apply(t.Context(), steps[i:i+1])
		done = append(done, fmt.Sprint(steps[i]))
	}
}

// sticks reports whether a kernel has a rule for a mark of a link.
func sticks(k *kerneltest.Kernel, mark uint32) bool {
	rules, _ := k.Rules(context.Background())
	return slices.ContainsFunc(rules, func(r kstate.Rule) bool { return r.Family == route.IPv4 && r.Sticks() && r.Mark == mark })
}

// TestConnectionsStay drives the machine as TestKernelIsAsFromScratch does, and holds that what is written on the way moves no
// connection from a link that keeps it.
func TestConnectionsStay(t *testing.T) {
	sites := exactSites(t)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, sites)
		s := &stays{kerneltest.New(allUp().All...), w.carrier}
		w.boot(t, w.site, w.now, nil)
		defer func() { w.stop() }()
		for turn := range rapid.IntRange(1, 12).Draw(t, "turns") {
			s.follow(t, w, "before")
			if rapid.IntRange(0, 14).Draw(t, "restart") == 0 {
				w.restart(t)
			}
			events := w.events(t)
			resume := func() {}
			if rapid.Bool().Draw(t, "together") && w.engine.sent.mode == plan.Full {
				var err error
				if resume, err = w.r.Pause(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			w.now = w.now.Add(time.Duration(rapid.IntRange(1, 400).Draw(t, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 3).Draw(t, "long") == 0 {
				w.now = w.now.Add(stageTime + time.Second)
			}
			w.turn(w.now, events...)
			resume()
			s.follow(t, w, fmt.Sprintf("turn %d", turn))
		}
	})
}
