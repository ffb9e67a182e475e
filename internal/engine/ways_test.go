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

	"bothways/internal/fib"
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
// that lost no carrier may have it until the first route is written.
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

		resume := func() {}
		if rapid.Bool().Draw(t, "together") {
			var err error
			if resume, err = m.r.Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		carrier := rapid.Bool().Draw(t, "carrier")
		more := SessionUpdates{keySecondary, []route.Update{exactUpdate(keySecondary, netip.MustParsePrefix("21.0.0.0/8"), 0)}}
		if carrier {
			m.kernel.SetCarrier(2, false)
			m.turn(now, CarrierChanged{Index: 2}, more)
		} else {
			m.turn(now, NeighborSeen{Index: 2, Address: netip.MustParseAddr("192.0.2.2"), State: kstate.NeighborFailed}, more)
		}
		resume()
		m.written(t)
		after := m.kernel.Applied()

		k := kerneltest.New(allUp().All...)
		k.Apply(t.Context(), before)
		if carrier {
			k.SetCarrier(2, false)
		}
		done, marks := []string{}, map[uint32]string{}
		for _, l := range m.engine.links {
			marks[uint32(l.number)] = l.FullName()
		}
		for i, l := range replyLinks(m.engine.links) {
			if carrier {
				break // their tables have no way without the link: they take what is left in ours until it is whole again
			}
			marks[fib.ReplyMark(0, i, 0xff)] = fmt.Sprintf("replies on link %d", l)
		}
		for i := 0; ; i++ {
			routes := slices.ContainsFunc(after[:i], func(c kstate.Change) bool { return c.Route != nil })
			for mark, name := range marks {
				for _, p := range prefixes {
					want := way(m.kernel, mark, p.Addr())
					got := way(k, mark, p.Addr())
					if !slices.Equal(got, want) && (carrier || routes || !slices.Equal(got, []int{2})) {
						t.Fatalf("a packet of %s to %s goes by %v, want %v, after\n%s", name, p.Addr(), got, want, strings.Join(done, "\n"))
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
