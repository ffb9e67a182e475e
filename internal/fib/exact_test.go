package fib

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bothways/internal/kstate"
	"bothways/internal/policy"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// TestKernelAgrees holds, on random tables with steer rules and for every set of dead links, that a longest match over
// the routes as the kernel would hold them sends a destination where the model says: compressed, uncompressed, and
// uncompressed before that is there which follows its cover.
func TestKernelAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const links = 4
		table := rib.NewTable(route.IPv4)
		var steer []Steer
		for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
			use := [][]route.LinkSet{{route.NewLinkSet(route.Link(1 + i%links))}, {route.NewLinkSet(3, 4)}}
			s := Steer{To: []netip.Prefix{drawPrefix(t)}, Use: use, Drop: rapid.Bool().Draw(t, "drop"), Own: rapid.Bool().Draw(t, "own")}
			if s.Own && rapid.IntRange(0, 3).Draw(t, "all") == 0 {
				s.To, s.All = nil, true
			}
			steer = append(steer, s)
		}
		for l := range links {
			table.SetLink(route.Link(l+1), rib.LinkParams{Path: l / 2, Order: l % 2, Preference: 100, Static: 50})
		}
		fibs := []*FIB{
			New(route.IPv4, Params{Compress: true, Steer: steer}, table),
			New(route.IPv4, Params{Steer: steer}, table),
		}
		names, kernels := []string{"compressed", "uncompressed", "at first"}, []kernel{{}, {}, {}}
		emit := []func(kstate.RouteChange){kernels[0].apply, func(c kstate.RouteChange) {
			kernels[1].apply(c)
			c.Delete = c.Delete || c.Follows
			kernels[2].apply(c)
		}}
		open := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true})
		attrs := []*route.Attrs{{Path: route.SequencePath(1)}, {Path: route.SequencePath(1, 2)}}
		for range rapid.IntRange(1, 5).Draw(t, "batches") {
			for range rapid.IntRange(1, 10).Draw(t, "changes") {
				u := route.Update{Family: route.IPv4}
				if rapid.IntRange(0, 3).Draw(t, "withdraw") == 0 {
					u.Withdrawn = []netip.Prefix{drawPrefix(t)}
				} else {
					u.Announced, u.Attrs = []netip.Prefix{drawPrefix(t)}, rapid.SampledFrom(attrs).Draw(t, "attrs")
				}
				table.Apply(route.Link(rapid.IntRange(1, links).Draw(t, "link")), open, u, 0)
			}
			table.Commit(func(c rib.Change) {
				for i, f := range fibs {
					f.Change(c, emit[i])
				}
			})
			for dead := range 1 << links {
				s := State{Present: route.NewLinkSet(1, 2, 3, 4)}
				for l := range links {
					if dead&(1<<l) != 0 {
						s.Dead.Add(route.Link(l + 1))
					}
				}
				for i, f := range fibs {
					f.Small(s, emit[i])
				}
				for i, f := range []*FIB{fibs[0], fibs[1], fibs[1]} {
					linkTablesAgree(t, f, kernels[i], s)
					groups := f.Groups(s)
					for range 3 {
						dst := drawPrefix(t).Addr()
						want := f.Lookup(netip.PrefixFrom(dst, 32), s).Now
						got, _ := kernels[i].lookup(kstate.Table, dst, groups)
						slices.Sort(want.Links)
						if !slices.Equal(got, want.Links) {
							t.Fatalf("%s: %s with dead %v goes by %v, want %v (%v)", names[i], dst, s.Dead.Links(), got, want.Links, want.Outcome)
						}
						own := 0
						for rule := range steer {
							if !steer[rule].Own {
								continue
							}
							table := uint32(kstate.SteerTable + own)
							own++
							want := f.LookupSteered(rule, netip.PrefixFrom(dst, 32), s).Now
							got, found := kernels[i].lookup(table, dst, groups)
							if !found {
								got, _ = kernels[i].lookup(kstate.Table, dst, groups)
							}
							slices.Sort(want.Links)
							if !slices.Equal(got, want.Links) {
								t.Fatalf("%s: rule %d: %s with dead %v goes by %v, want %v (%v)", names[i], rule, dst, s.Dead.Links(), got, want.Links, want.Outcome)
							}
						}
					}
				}
			}
		}
	})
}

// linkTablesAgree holds that what follows a link's mark goes by the link where the link reaches, and that when the link is lost the
// kernel goes on, by itself, by one that reaches and lives, and by none that a rule keeps it from.
func linkTablesAgree(t *rapid.T, f *FIB, k kernel, s State) {
	groups := f.Groups(s)
	for l := route.Link(1); s.Present.Has(l); l++ {
		dst := drawPrefix(t).Addr()
		host := netip.PrefixFrom(dst, 32)
		_, rank, _ := f.table.Lookup(host)
		got, found := k.lookup(kstate.Table+uint32(l), dst, groups)
		if reached := f.table.Rankings().Links(rank).Has(l); reached != found || found && !slices.Equal(got, []route.Link{l}) {
			t.Fatalf("%s with the mark of %d goes by %v, reached %v", dst, l, got, reached)
		}
		if !found || s.Dead.Has(l) {
			continue
		}
		// The kernel takes the link's nexthop out of all groups, and what is left empty with its routes.
		var left []kstate.Nexthop
		for _, g := range groups {
			g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(m kstate.Member) bool { return m.ID == kstate.LinkNexthop(l, route.IPv4) })
			if len(g.Members) > 0 {
				left = append(left, g)
			}
		}
		got, found = k.lookup(kstate.Table+uint32(l), dst, left)
		rule := f.rule(&f.views[0], host)
		switch without := s.Dead.Union(route.NewLinkSet(l)); {
		case !found: // our own table has it
		case rule < 0:
			// By the ranking of what covers the destination in the link's table, which may be another than its own; a second
			// link that is lost may leave nothing of that.
			allowed := f.table.Rankings().Links(rank).Minus(without)
			for _, x := range got {
				if s.Dead.Empty() && !allowed.Empty() && !allowed.Has(x) {
					t.Fatalf("%s with the mark of %d, which is lost, goes by %v, and only %v can", dst, l, got, allowed.Links())
				}
			}
		case f.params.Steer[rule].Drop && f.table.Rankings().Links(f.steered(rule, rank)).Has(l):
			for _, x := range got {
				if !f.table.Rankings().Links(f.steered(rule, rank)).Has(x) {
					t.Fatalf("%s with the mark of %d, which is lost, goes by %v, which %v does not allow", dst, l, got, f.params.Steer[rule])
				}
			}
		}
	}
}

func drawPrefix(t *rapid.T) netip.Prefix {
	bits := rapid.SampledFrom([]int{0, 8, 9, 10, 16, 32}).Draw(t, "bits")
	addr := netip.AddrFrom4([4]byte{10, byte(rapid.SampledFrom([]int{0, 64, 128, 192}).Draw(t, "b")), 0, byte(rapid.IntRange(0, 1).Draw(t, "d"))})
	return netip.PrefixFrom(addr, bits).Masked()
}

// kernel is our table as the kernel looks it up: longest prefix, then lowest metric.
type kernel map[kstate.RouteKey]kstate.Route

func (k kernel) apply(c kstate.RouteChange) {
	if c.Delete {
		delete(k, c.Route.RouteKey)
	} else {
		k[c.Route.RouteKey] = c.Route
	}
}

// lookup says which links a destination goes by, and whether the table has an answer at all.
func (k kernel) lookup(table uint32, dst netip.Addr, groups []kstate.Nexthop) ([]route.Link, bool) {
	var best *kstate.Route
	for _, r := range k {
		if r.Table != table || !r.Prefix.Contains(dst) {
			continue
		}
		if r.Type == kstate.Unicast && !slices.ContainsFunc(groups, func(g kstate.Nexthop) bool { return g.ID == r.Nexthop }) {
			continue // the kernel has no group without members, and no route on one
		}
		if best == nil || r.Prefix.Bits() > best.Prefix.Bits() || r.Prefix.Bits() == best.Prefix.Bits() && r.Metric < best.Metric {
			best = &r
		}
	}
	if best == nil || best.Type != kstate.Unicast {
		return nil, best != nil
	}
	var out []route.Link
	for _, g := range groups {
		if g.ID == best.Nexthop {
			for _, m := range g.Members {
				l, _, _ := LinkOf(m.ID)
				out = append(out, l)
			}
		}
	}
	slices.Sort(out)
	return out, true
}
