package reconcile

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"bothways/internal/kstate"
	"bothways/internal/plan"
)

// ways is a table in which each prefix has its own way or follows the default; 0 is none.
type ways map[kstate.RouteKey]kstate.RouteType

func (w ways) of(k kstate.RouteKey) kstate.RouteType {
	if own, ok := w[k]; ok {
		return own
	}
	return w[wayKey(k.Prefix.Addr().Is6(), 0)]
}

func (w ways) change(r kstate.Route, remove bool) {
	if w[r.RouteKey] = r.Type; remove {
		delete(w, r.RouteKey)
	}
}

// wayKey is the n-th prefix; 0 is the default.
func wayKey(six bool, n int) kstate.RouteKey {
	a := netip.AddrFrom4([4]byte{byte(n)})
	if six {
		a = netip.AddrFrom16([16]byte{byte(n)})
	}
	return kstate.RouteKey{Table: kstate.Table, Metric: kstate.MetricRanking, Prefix: netip.PrefixFrom(a, 8*min(n, 1))}
}

const manyWays = 9

// drawWays draws a batch of routes, the default behind them, and now and then of another group. A default never goes.
func (c *convergence) drawWays(t *rapid.T) plan.Batch {
	c.sequence++
	b := plan.Batch{Sequence: c.sequence, More: rapid.IntRange(0, 2).Draw(t, "more") == 0}
	groups := rapid.IntRange(0, 1).Draw(t, "group")
	b.Objects = c.objects(func(g int) int { return groups >> g })
	for range max(0, rapid.IntRange(-2, 8).Draw(t, "routes")) {
		k := wayKey(rapid.Bool().Draw(t, "ipv6"), rapid.IntRange(0, manyWays-1).Draw(t, "prefix"))
		x := kstate.RouteChange{Route: kstate.Route{RouteKey: k, Type: rapid.SampledFrom([]kstate.RouteType{kstate.Blackhole, kstate.Throw}).Draw(t, "type")}}
		x.Delete = k.Prefix.Bits() > 0 && rapid.IntRange(0, 2).Draw(t, "delete") == 0
		b.Routes = append(b.Routes, x)
	}
	slices.SortStableFunc(b.Routes, func(x, y kstate.RouteChange) int { return y.Route.Prefix.Bits() - x.Route.Prefix.Bits() })
	return b
}

// TestEveryWayWasWanted: while batches are written, no prefix gets a way that neither was there before nor is wanted by one of them:
// it does not follow a default that changes, because its own route comes later.
func TestEveryWayWasWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { rapid.Check(bubble{t}, everyWay) })
}

func everyWay(t *rapid.T) {
	ctx := t.Context()
	c, slow := newConvergence(t)
	defer c.r.fly(ctx)()
	wanted, holds, more, bad := []ways{{}}, ways{}, false, ""
	submit := func(b plan.Batch) {
		w := maps.Clone(wanted[len(wanted)-1])
		for _, x := range b.Routes {
			w.change(x.Route, x.Delete)
		}
		wanted, more = append(wanted, w), b.More
		c.r.Submit(b)
	}
	c.kernel.Fail(func(x kstate.Change) error {
		if x.Route == nil {
			return nil
		}
		before := maps.Clone(holds)
		holds.change(*x.Route, x.Verb == kstate.Delete)
		for n := range manyWays {
			k := wayKey(x.Route.Prefix.Addr().Is6(), n)
			is, was := holds.of(k), before.of(k)
			if is != was && was != 0 && !slices.ContainsFunc(wanted, func(w ways) bool { return w.of(k) == is }) {
				bad = x.String() + " changes the way of " + k.Prefix.String()
			}
		}
		return nil
	})
	for range rapid.IntRange(1, 12).Draw(t, "turns") {
		b := c.drawWays(t)
		rest := slow.drawOthers(t, c.drawWays, submit)
		submit(b)
		c.r.turn(ctx)
		rest()
		c.r.turn(ctx) // also for what came while the last was written
		if bad != "" || c.r.refused > 0 {
			t.Fatal(bad, c.r.lastError)
		}
		if more {
			continue
		}
		if wanted = wanted[len(wanted)-1:]; !maps.Equal(wanted[0], holds) {
			t.Fatalf("the kernel holds %v, want %v", holds, wanted[0])
		}
	}
}
