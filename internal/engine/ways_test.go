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
	"bothways/internal/route"
)

// way gives the interfaces by which a kernel sends a packet with a mark.
func way(k *kerneltest.Kernel, mark uint32, dst netip.Addr) (by []int) {
	ctx := context.Background()
	nexthops, _ := k.Nexthops(ctx)
	object := map[kstate.NexthopID]kstate.Nexthop{}
	for _, n := range nexthops {
		object[n.ID] = n
	}
	rules, _ := k.Rules(ctx)
	for _, r := range rules {
		if r.Family != route.IPv4 || r.Local || r.Mask != 0 && r.Mark != mark {
			continue
		}
		var best *kstate.Route
		k.Routes(ctx, func(x kstate.Route) error {
			if x.Table == r.Table && x.Prefix.Contains(dst) && (best == nil || x.Prefix.Bits() > best.Prefix.Bits() || x.Prefix == best.Prefix && x.Metric < best.Metric) {
				best = &x
			}
			return nil
		})
		if best == nil || best.Type == kstate.Throw {
			continue
		}
		for _, m := range object[best.Nexthop].Members {
			by = append(by, object[m.ID].Interface)
		}
		return by
	}
	return nil
}

// TestNoDetour: when a link dies, a connection goes on by what is decided for it, at each step of what is written. Only a link
// that lost no carrier may have it until then.
func TestNoDetour(t *testing.T) {
	c := load(t, site)
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(kerneltest.New(allUp().All...))
		now := time.Unix(1_000_000, 0)
		m.boot(t, c, now, nil)
		defer func() { m.stop() }()
		var prefixes []netip.Prefix
		say := func(k SessionKey, length int) []Event {
			ev := SessionUpdates{Key: k}
			for _, p := range prefixes {
				ev.Updates = append(ev.Updates, exactUpdate(k, p, length))
			}
			return []Event{SessionUp{Key: k, Ends: true}, ev, SessionEndOfRIB{k}}
		}
		for range rapid.IntRange(1, 6).Draw(t, "prefixes") {
			prefixes = append(prefixes, drawExact(t, route.IPv4))
		}
		m.turn(now, append(say(keyPrimary, 0), say(keySecondary, rapid.IntRange(0, 1).Draw(t, "longer"))...)...)
		now = now.Add(time.Minute)
		m.turn(now)
		m.written(t)
		before := m.kernel.Applied()

		carrier := rapid.Bool().Draw(t, "carrier")
		if carrier {
			m.kernel.SetCarrier(2, false)
			m.turn(now, CarrierChanged{Index: 2})
		} else {
			m.turn(now, NeighborSeen{Index: 2, Address: netip.MustParseAddr("192.0.2.2"), State: kstate.NeighborFailed})
		}
		m.written(t)
		after := m.kernel.Applied()

		k := kerneltest.New(allUp().All...)
		k.Apply(t.Context(), before)
		if carrier {
			k.SetCarrier(2, false)
		}
		done := []string{}
		for i := 0; ; i++ {
			for _, l := range m.engine.links {
				for _, p := range prefixes {
					want := way(m.kernel, uint32(l.number), p.Addr())
					got := way(k, uint32(l.number), p.Addr())
					if !slices.Equal(got, want) && (carrier || l.index != 2 || !slices.Equal(got, []int{2})) {
						t.Fatalf("a packet of %s to %s goes by %v, want %v, after\n%s", l.FullName(), p.Addr(), got, want, strings.Join(done, "\n"))
					}
				}
			}
			if i == len(after) {
				break
			}
			k.Apply(t.Context(), after[i:i+1])
			done = append(done, fmt.Sprint(after[i]))
		}
	})
}
