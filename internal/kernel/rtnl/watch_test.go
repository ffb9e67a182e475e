package rtnl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

// watcher collects events in the background.
type watcher struct {
	mu     sync.Mutex
	events []Event
}

func watch(t testing.TB, h *Handle) *watcher {
	t.Helper()
	w := &watcher{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- h.Watch(ctx, func(e Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	w.wait(t, func(e Event) bool { return e.Kind == Lost && e.Err == nil })
	return w
}

func (w *watcher) all() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Event(nil), w.events...)
}

func (w *watcher) wait(t testing.TB, ok func(Event) bool) {
	t.Helper()
	eventually(t, "event", func() bool {
		for _, e := range w.all() {
			if ok(e) {
				return true
			}
		}
		return false
	})
}

func TestWatch(t *testing.T) {
	h := open(t)
	dev0, dev1 := twoLinks(t)
	w := watch(t, h)
	mustApply(t, h, nexthops(dev0, dev1)...)
	mustApply(t, h, kstate.PutRoute(unicast("10.0.0.0/8", 100, group4)), kstate.PutRoute(unicast("10.9.0.0/16", 100, group4)))
	ip(t, "addr add 10.99.0.1/24 dev up0")
	ip(t, "neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev up0")
	ip(t, "route add 172.16.0.0/12 dev up0")
	ip(t, "rule add priority 5 lookup 99")
	ip(t, "route del 10.0.0.0/8 table 9800 metric 100 proto 98")
	ip(t, fmt.Sprintf("nexthop del id %d", group4))
	ip(t, "link set up1 mtu 1400")
	ip(t, "link del up1")
	for _, want := range []func(Event) bool{
		func(e Event) bool { return e.Kind == AddressesChanged && e.Interface.Index == dev0 },
		func(e Event) bool {
			return e.Kind == NeighborChanged && e.Neighbor == kstate.Neighbor{Interface: dev0, Address: addr("192.0.2.2"), State: kstate.NeighborReachable}
		},
		func(e Event) bool { return e.Kind == RuleChanged && !e.Deleted },
		func(e Event) bool {
			return e.Kind == RouteChanged && e.Deleted && e.Route == unicast("10.0.0.0/8", 100, group4)
		},
		func(e Event) bool { return e.Kind == NexthopChanged && e.Deleted && e.Nexthop == group4 },
		func(e Event) bool {
			return e.Kind == InterfaceChanged && e.Interface.Name == "up1" && e.Interface.MTU == 1400 && e.Interface.Carrier
		},
		func(e Event) bool { return e.Kind == InterfaceChanged && e.Interface.Index == dev1 && e.Deleted },
	} {
		w.wait(t, want)
	}
	for _, e := range w.all() {
		if (e.Kind == RouteChanged || e.Kind == NexthopChanged) && !e.Deleted {
			t.Errorf("event %v: it is our own write, or a foreign route", e)
		}
		if e.Kind == Lost && e.Err != nil {
			t.Errorf("lost: %v", e.Err)
		}
	}
}

// TestHearRoutes: nothing is told of routes while nobody wants to hear of them, of other things it is; the next socket does what the
// last one did.
func TestHearRoutes(t *testing.T) {
	h, other := open(t), open2(t, nil)
	twoLinks(t)
	hear := func(on bool) {
		t.Helper()
		if err := h.HearRoutes(on); err != nil {
			t.Fatal(err)
		}
	}
	blackhole := func(p string) kstate.Route {
		return kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix(p), Metric: 100}, Type: kstate.Blackhole}
	}
	told := func(p string) func(Event) bool {
		return func(e Event) bool { return e.Kind == RouteChanged && e.Route == blackhole(p) }
	}
	mtu := func(n int) func(Event) bool {
		ip(t, fmt.Sprintf("link set up0 mtu %d", n))
		return func(e Event) bool { return e.Kind == InterfaceChanged && e.Interface.MTU == n }
	}
	hear(false) // before anybody watches
	hear(false)
	w := watch(t, h)
	mustApply(t, other, kstate.PutRoute(blackhole("10.1.0.0/16")))
	w.wait(t, mtu(1401))
	hear(true)
	mustApply(t, other, kstate.PutRoute(blackhole("10.2.0.0/16")))
	w.wait(t, told("10.2.0.0/16"))
	hear(false)
	mustApply(t, other, kstate.PutRoute(blackhole("10.3.0.0/16")), kstate.PutRoute(blackhole("2001:db8::/32")))
	w.wait(t, mtu(1402))
	for _, e := range w.all() {
		if e.Kind == RouteChanged && e.Route != blackhole("10.2.0.0/16") {
			t.Errorf("told of %s", e.Route)
		}
	}
	hear(true)
	hear(true)
	mustApply(t, other, kstate.PutRoute(blackhole("2001:db8:1::/48")))
	w.wait(t, told("2001:db8:1::/48"))
}

// A reader that is too slow is told so, and goes on.
func TestWatchSurvivesOverflow(t *testing.T) {
	h := open(t)
	twoLinks(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hold, events, done := make(chan struct{}), make(chan Event, 1<<20), make(chan error)
	go func() {
		done <- h.Watch(ctx, func(e Event) {
			events <- e
			<-hold
		})
	}()
	if e := <-events; e.Kind != Lost || e.Err != nil {
		t.Fatalf("first event %v", e)
	}
	// About 10,000 events of 1 KiB of the kernel's accounting each.
	other := open2(t, h)
	for range 3 {
		var put, del []kstate.Change
		for i := range 5000 {
			r := kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: manyRoutes(i+1, 0)[i].Route.Prefix, Metric: 100}, Type: kstate.Blackhole}
			put, del = append(put, kstate.PutRoute(r)), append(del, kstate.DeleteRoute(r))
		}
		mustApply(t, other, append(put, del...)...)
	}
	close(hold)
	failed := false
	for e := range events {
		if e.Kind == Lost && errors.Is(e.Err, unix.ENOBUFS) {
			failed = true
			break
		}
	}
	if !failed {
		t.Fatal("no ENOBUFS")
	}
	for e := range events {
		if e.Kind == Lost {
			break // listening again
		}
	}
	ip(t, "link set up0 mtu 1333")
	for e := range events {
		if e.Kind == InterfaceChanged && e.Interface.MTU == 1333 {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// open2 opens a second handle in the test's namespace: somebody else, to the first one.
func open2(t testing.TB, _ *Handle) *Handle {
	t.Helper()
	h, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}
