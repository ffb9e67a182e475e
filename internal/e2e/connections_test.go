package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

var circuitLinks = []string{"expressroute/primary", "expressroute/secondary"}

func fail(t *testing.T, w *lab.World, silent bool, links ...string) {
	t.Helper()
	for _, l := range links {
		if err := w.Fail(within(t), l, silent); err != nil {
			t.Fatal(err)
		}
	}
}

// services are the addresses, in both families, of the cloud's hosts that no rule pins.
func services(t *testing.T, w *lab.World) []netip.Addr {
	t.Helper()
	var out []netip.Addr
	pinned := w.Description.Pinned()
	for _, h := range w.Description.Cloud {
		for _, a := range h.Addresses {
			if !slices.Contains(pinned, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

func crowd(t *testing.T, w *lab.World, from string, to []netip.Addr, n int) *lab.Crowd {
	t.Helper()
	c, err := w.Crowd(within(t), from, to, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// openedBy checks by which routers the connections of a crowd went out when they were opened.
func openedBy(t *testing.T, c *lab.Crowd, routers ...string) {
	t.Helper()
	for i, a := range c.First() {
		if !slices.Contains(routers, a.Via) {
			t.Fatalf("connection %d was opened by %s, want %v", i, a.Via, routers)
		}
	}
}

// whole checks that no connection of a crowd is broken.
func whole(t *testing.T, what string, c *lab.Crowd, timeout time.Duration) {
	t.Helper()
	if broken := c.Ask(timeout); len(broken) > 0 {
		t.Errorf("%s: %d of %d connections are broken, the first: %v", what, len(broken), c.Len(), broken[0])
	}
}

func steadyStream(t *testing.T, w *lab.World, from, to string, pps int) *lab.Stream {
	t.Helper()
	s, err := w.Stream(t.Context(), from, address(t, w, to, false), pps)
	if err != nil {
		t.Fatal(err)
	}
	waitReturned(t, s, uint64(pps/4))
	return s
}

// passed is how many packets a router got from the site.
func passed(t *testing.T, w *lab.World, router string) uint64 {
	t.Helper()
	n, err := w.Passed(router)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFailbackBreaksNothing opens 1,000 connections and a steady exchange of datagrams on ISP A while the circuit is dead.
// When it is back they stay where they are, and new ones use the circuit.
func TestFailbackBreaksNothing(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edge(t, w)
	fail(t, w, false, circuitLinks...)
	via(t, w, "client", "storage", "isp-a")
	c := crowd(t, w, "client", services(t, w), 1000)
	openedBy(t, c, "isp-a")
	datagrams := steadyStream(t, w, "client", "storage", 1000)

	if err := w.HealAll(within(t)); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	for _, v6 := range []bool{false, true} {
		to := address(t, w, "storage", v6)
		eventually(t, func(ctx context.Context) error {
			one, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if a, err := w.Ask(one, "client", to); err != nil || a.Via == "isp-a" {
				return fmt.Errorf("healed, and new connections arrive by %q: %w", a.Via, err)
			}
			return nil
		})
	}
	before := passed(t, w, "isp-a")
	whole(t, "after the failback", c, 5*time.Second)
	if n := passed(t, w, "isp-a") - before; n < 1000 {
		t.Errorf("%d packets of 1,000 exchanges passed isp-a's router: they went another way", n)
	}
	waitReturned(t, datagrams, 1000)
	whole(t, "a second later", c, 5*time.Second)
	l := datagrams.Stop()
	if l.Out+l.Back != 0 || l.Changes != 0 {
		t.Errorf("the exchange of datagrams: %s, %d times from another address", l, l.Changes)
	}
	t.Logf("1,000 connections go on, and datagrams: %s", l)
	if a := asymmetry(t, w); len(a.Pairs) != 0 {
		t.Errorf("replies came by other paths: %+v", a.Pairs)
	}
}

// TestFailoverWithDistinctPools kills the circuit under 500 connections of its own: all can be opened again at once, by
// ISP A. 500 others, to the Internet by ISP A, and a stream there, notice nothing.
func TestFailoverWithDistinctPools(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edge(t, w)
	affected := crowd(t, w, "client", services(t, w), 500)
	openedBy(t, affected, "circuit/primary", "circuit/secondary")
	registry := []netip.Addr{address(t, w, "registry", false), address(t, w, "registry", true)}
	unaffected := crowd(t, w, "client", registry, 500)
	openedBy(t, unaffected, "isp-a")
	datagrams := steadyStream(t, w, "client", "registry", 1000)

	fail(t, w, false, circuitLinks...)
	failed := time.Now()
	via(t, w, "client", "storage", "isp-a")
	moved := time.Since(failed)
	broken, problems := affected.Reconnect(within(t), 10*time.Second)
	took := time.Since(failed)
	if broken != affected.Len() || len(problems) > 0 {
		t.Errorf("%d of %d connections of the dead circuit were broken, %d could not be opened again: %v", broken, affected.Len(), len(problems), problems)
	}
	openedBy(t, affected, "isp-a")
	// A connection that hangs until its own time-out would take 10 s; a client that is reset opens the next at once.
	if took > 5*time.Second {
		t.Errorf("%d connections were opened again %s after the failure", broken, took)
	}
	t.Logf("new connections after %s, all %d opened again after %s", moved, broken, took)
	whole(t, "of the Internet", unaffected, 5*time.Second)
	if l := datagrams.Stop(); l.Out+l.Back != 0 || l.Changes != 0 {
		t.Errorf("a stream that has nothing to do with it: %s, %d times from another address", l, l.Changes)
	}
	cut := 0
	for _, e := range events(t, w) {
		if e.Kind == "flows" {
			t.Log(e.Subject, e.Text)
			cut++
		}
	}
	if cut == 0 {
		t.Error("no event tells that connections were cut")
	}
}

// TestFailoverWithASharedPool kills one link of the circuit under 1,000 connections: the other has the same pool, and none
// breaks, whether the carrier is lost or the link falls silent.
func TestFailoverWithASharedPool(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		t.Run(map[bool]string{false: "carrier lost", true: "silently"}[silent], func(t *testing.T) {
			t.Parallel()
			w := raise(t, func(d *worldOf) {
				// Which of its own links the provider answers by is for the provider to know: it misses the dead one after
				// the hold time, and must not keep our routes there for a restart.
				for _, name := range []string{"circuit/primary", "circuit/secondary"} {
					d.Router(name).Hold, d.Router(name).GracefulRestart = 3*time.Second, false
				}
			})
			edge(t, w)
			c := crowd(t, w, "client", services(t, w), 1000)
			openedBy(t, c, "circuit/primary", "circuit/secondary")
			onDead := 0
			for _, a := range c.First() {
				if a.Via == "circuit/primary" {
					onDead++
				}
			}
			if onDead < 100 {
				t.Fatalf("only %d of 1,000 connections use the link that is to fail", onDead)
			}
			fail(t, w, silent, "expressroute/primary")
			via(t, w, "client", "storage", "circuit/secondary")
			whole(t, "after the failover", c, 20*time.Second)
			if err := w.HealAll(within(t)); err != nil {
				t.Fatal(err)
			}
			settled(t, w)
			whole(t, "after the failback", c, 20*time.Second)
			t.Logf("%d of 1,000 connections were on the link that failed", onDead)
		})
	}
}

func events(t *testing.T, w *lab.World) []v1.Event {
	t.Helper()
	var out []v1.Event
	if err := w.Show(within(t), "events", &out); err != nil {
		t.Fatal(err)
	}
	return out
}
