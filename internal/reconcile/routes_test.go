package reconcile

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"

	"bothways/internal/kstate"
)

// TestRoutesAreWhatAMapWouldBe compares the book with plain maps under random changes, passes and refusals.
func TestRoutesAreWhatAMapWouldBe(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	r := newRoutes()
	type side struct {
		kind kstate.RouteType
		id   kstate.NexthopID
	}
	want, have := map[kstate.RouteKey]side{}, map[kstate.RouteKey]side{}
	draw := func() kstate.RouteKey {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(random.IntN(6)), 0}), 24)
		if random.IntN(3) == 0 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 2: byte(random.IntN(4)), 15: byte(random.IntN(2))}), 128)
		}
		return kstate.RouteKey{Table: uint32(100 + random.IntN(2)), Prefix: p, Metric: uint32(1 + random.IntN(2))}
	}
	differ := func() int {
		n := 0
		all := maps.Clone(want)
		maps.Copy(all, have)
		for k := range all {
			if want[k] != have[k] {
				n++
			}
		}
		return n
	}
	// air is a lot that was taken, with the changes as they were wanted then.
	type flying struct {
		kstate.Change
		place uint32
	}
	air := map[kstate.RouteKey]flying{}
	change := func(k kstate.RouteKey) kstate.Change {
		if w, wanted := want[k]; wanted {
			return kstate.PutRoute(kstate.Route{RouteKey: k, Type: w.kind, Nexthop: w.id})
		}
		return kstate.Change{Verb: kstate.Delete, Route: &kstate.Route{RouteKey: k}}
	}
	wrote := func(c *kstate.Change, place uint32) {
		r.wrote(c, place)
		k := c.Route.RouteKey
		if delete(have, k); c.Verb == kstate.Put {
			have[k] = side{c.Route.Type, c.Route.Nexthop}
		}
	}
	for step := range 40_000 {
		k := draw()
		switch random.IntN(8) {
		case 0, 1:
			s := side{kstate.Unicast, kstate.NexthopID(1 + random.IntN(3))}
			want[k] = s
			r.change(k, func(p *routePair) { p.wantType, p.want = s.kind, s.id })
		case 2, 3:
			delete(want, k)
			r.change(k, func(p *routePair) { p.wantType, p.want = 0, 0 })
		case 4:
			gone := kstate.NexthopID(1 + random.IntN(3))
			maps.DeleteFunc(have, func(_ kstate.RouteKey, s side) bool { return s.id == gone })
			r.changeAll(func(p routePair) bool { return p.haveType != 0 && p.have == gone }, (*routePair).lost)
		case 5:
			r.take(3, func(kstate.RouteKey, routePair) bool { return true }, func(k kstate.RouteKey, _ routePair, place uint32) {
				if _, ok := air[k]; ok {
					t.Fatalf("step %d: %v is given while it is written", step, k)
				}
				air[k] = flying{change(k), place}
			})
			r.rewind()
		case 6:
			for _, f := range air {
				if random.IntN(4) == 0 {
					r.again(&f.Change, f.place)
				} else {
					wrote(&f.Change, f.place)
				}
			}
			clear(air)
		default:
			// A pass: each that is ready is given once; some are refused, and come again.
			given, skip := map[kstate.RouteKey]bool{}, map[kstate.RouteKey]bool{}
			for more := true; more; {
				var lot []kstate.RouteKey
				places := map[kstate.RouteKey]uint32{}
				r.take(3, func(k kstate.RouteKey, p routePair) bool { return p.want != 2 && !skip[k] }, func(k kstate.RouteKey, _ routePair, place uint32) {
					lot = append(lot, k)
					places[k] = place
				})
				more = len(lot) > 0
				for _, k := range lot {
					if given[k] {
						t.Fatalf("step %d: %v is given twice", step, k)
					}
					given[k] = true
					c := change(k)
					if random.IntN(4) == 0 {
						skip[k] = true
						r.again(&c, places[k])
						continue
					}
					wrote(&c, places[k])
				}
			}
			for k := range want {
				if _, flies := air[k]; !flies && want[k] != have[k] && want[k].id != 2 && !given[k] {
					t.Fatalf("step %d: %v was not given", step, k)
				}
			}
		}
		if r.wanted != len(want) || r.differ != differ() {
			t.Fatalf("step %d: wanted %d and %d differ, want %d and %d", step, r.wanted, r.differ, len(want), differ())
		}
	}
	for _, f := range air {
		wrote(&f.Change, f.place)
	}
	got := map[kstate.RouteKey]side{}
	r.each(func(k kstate.RouteKey, p routePair) {
		if p.haveType != 0 {
			got[k] = side{p.haveType, p.have}
		}
		if p.taken || p.none() && !p.queued {
			t.Errorf("%v is kept for nothing", k)
		}
	})
	if !maps.Equal(got, have) {
		t.Errorf("there: %v, want %v", got, have)
	}
}
