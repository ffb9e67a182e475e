package reconcile

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// TestFirstStaysFirst has a group written behind one that should be the first to go with its device: that one is written
// again, once, behind the routes.
func TestFirstStaysFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		group := func(n kstate.Nexthop) bool { return n.Group() }
		i := slices.IndexFunc(b.Objects.Nexthops, group)
		first := b.Objects.Nexthops[i]
		b.Objects.First = []kstate.NexthopID{first.ID}
		f.r.Submit(b.Batch)
		synctest.Wait()
		f.kernel.Applied()
		later := first
		later.ID++
		b.Objects.Nexthops = append(slices.Clone(b.Objects.Nexthops), later)
		for _, want := range [][]string{{kstate.PutNexthop(later).String(), kstate.PutNexthop(first).String()}, nil} {
			b.Sequence++
			f.r.Submit(b.Batch)
			synctest.Wait()
			var got []string
			for _, c := range f.kernel.Applied() {
				got = append(got, c.String())
			}
			if !slices.Equal(got, want) {
				t.Errorf("wrote %v, want %v", got, want)
			}
		}
	})
}

// TestTheLastWayGoesFirst: of a prefix in a table, what others are preferred to is deleted before them.
func TestTheLastWayGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		for _, metric := range []uint32{kstate.MetricTier, kstate.MetricEnd} {
			x := b.Routes[0]
			x.Route.Metric = metric
			b.Routes = append(b.Routes, x)
		}
		f.r.Submit(b.Batch)
		synctest.Wait()
		f.kernel.Applied()
		for i := range b.Routes {
			b.Routes[i].Delete = true
		}
		b.Sequence++
		f.r.Submit(b.Batch)
		synctest.Wait()
		var got []uint32
		for _, c := range f.kernel.Applied() {
			if c.Route != nil {
				got = append(got, c.Route.Metric)
			}
		}
		if want := []uint32{kstate.MetricEnd, kstate.MetricTier, kstate.MetricRanking}; !slices.Equal(got, want) {
			t.Errorf("deletes metrics %v, want %v", got, want)
		}
	})
}

// TestADefaultComesLast: a default that changes is written behind what shall not follow it, also where a lot of that was taken back for
// something urgent.
func TestADefaultComesLast(t *testing.T) {
	for _, family := range []route.Family{route.IPv4, route.IPv6} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, false)
			defer f.stop()
			blackhole := func(p netip.Prefix) kstate.RouteChange {
				return kstate.RouteChange{Route: kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: p, Metric: kstate.MetricRanking}, Type: kstate.Blackhole}}
			}
			all := blackhole(netip.MustParsePrefix("0.0.0.0/0"))
			if family == route.IPv6 {
				all = blackhole(netip.MustParsePrefix("::/0"))
			}
			b := f.batch()
			b.Routes = append(b.Routes, all)
			f.r.Submit(b.Batch)
			synctest.Wait()
			urgent := b.Batch
			urgent.Sequence, urgent.Routes = 3, nil
			const many = 3 * maxBatch
			b.Sequence, b.Routes = 2, nil
			for i := range many {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i)}), 24)
				if family == route.IPv6 {
					p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 8), byte(i)}), 32)
				}
				b.Routes = append(b.Routes, blackhole(p))
			}
			all.Route.Type = kstate.Throw
			b.Routes = append(b.Routes, all)
			written := 0
			f.submitAnd(b.Batch, urgent, func(c kstate.Change) {
				if c.Route == nil {
					return
				}
				if *c.Route == all.Route && written != many {
					t.Errorf("%s is written behind %d of %d", c.Route, written, many)
				}
				written++
			})
			if s := f.r.Status(); written != many+1 || s.Pending != 0 {
				t.Errorf("%d written, status %+v", written, s)
			}
		})
	}
}

// TestADefaultThatIsNew: a default that is wanted otherwise while it is written comes behind what shall not follow it then.
func TestADefaultThatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		f.r.Submit(b.Batch)
		synctest.Wait()
		all := kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix("0.0.0.0/0"), Metric: kstate.MetricRanking}, Type: kstate.Blackhole}
		own := b.Routes[0]
		own.Route.Prefix = netip.MustParsePrefix("6.0.0.0/8")
		then := b.Batch
		b.Sequence, b.Routes = 2, []kstate.RouteChange{{Route: all}}
		all.Type = kstate.Throw
		group := then.Objects.Nexthops[2]
		group.ID++
		then.Sequence, then.Routes, then.Objects.Nexthops = 3, []kstate.RouteChange{own, {Route: all}}, append(slices.Clone(then.Objects.Nexthops), group)
		var written []kstate.Route
		f.submitAnd(b.Batch, then, func(c kstate.Change) {
			if c.Route != nil {
				written = append(written, *c.Route)
			}
		})
		if len(written) != 3 || written[2] != all {
			t.Errorf("wrote %v, want %s last", written, all)
		}
	})
}
