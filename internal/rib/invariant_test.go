package rib

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// TestInvariant holds the invariant of the product on random tables, changes and failures: the resolution of a prefix's
// ranking is what longest match and the decision choose from scratch without the dead links' routes.
func TestInvariant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := NewTable(route.IPv4)
		ref := &reference{routes: map[refKey]*route.Attrs{}}
		open := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true})
		nLinks := rapid.IntRange(1, 6).Draw(t, "links")
		for i := range nLinks {
			l := route.Link(i + 1)
			p := LinkParams{Path: i / 2, Order: i % 2, Preference: uint32(rapid.SampledFrom([]int{100, 150}).Draw(t, "pref")), Static: 50}
			table.SetLink(l, p)
			ref.links[l] = p
		}
		attrs := make([]*route.Attrs, 6)
		for i := range attrs {
			path := []uint32{1, 2, 3}[:rapid.IntRange(1, 3).Draw(t, "len")]
			attrs[i] = &route.Attrs{Path: route.SequencePath(path...), MED: uint32(rapid.IntRange(0, 1).Draw(t, "med"))}
		}
		compressed := map[netip.Prefix]RankingID{}
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			for range rapid.IntRange(0, 12).Draw(t, "changes") {
				l := route.Link(rapid.IntRange(1, nLinks).Draw(t, "link"))
				p := drawPrefix(t)
				say := table.Apply
				if rapid.Bool().Draw(t, "staged") {
					say = table.Stage
				}
				switch rapid.IntRange(0, 9).Draw(t, "what") {
				case 0:
					table.RemoveLink(l)
					for k := range ref.routes {
						if k.link == l {
							delete(ref.routes, k)
						}
					}
				case 1:
					on := rapid.Bool().Draw(t, "static")
					table.SetStatic(l, on)
					if a, ok := ref.routes[refKey{route.IPv4.Default(), l}]; ok && a == nil {
						delete(ref.routes, refKey{route.IPv4.Default(), l}) // a learned one stays
					}
					if on {
						ref.routes[refKey{route.IPv4.Default(), l}] = nil
					}
				case 2, 3, 4:
					say(l, open, route.Update{Family: route.IPv4, Withdrawn: []netip.Prefix{p}}, 0)
					delete(ref.routes, refKey{p, l})
				default:
					a := rapid.SampledFrom(attrs).Draw(t, "attrs")
					say(l, open, route.Update{Family: route.IPv4, Announced: []netip.Prefix{p}, Attrs: a}, 0)
					ref.routes[refKey{p, l}] = a
				}
			}
			before := states(table)
			var changes []Change
			note := func(c Change) { changes = append(changes, c) }
			var all []route.Link
			for l := range nLinks {
				all = append(all, route.Link(l+1))
			}
			if rapid.Bool().Draw(t, "whole") {
				table.TakeAll(all, note)
			} else {
				for _, l := range all {
					table.Take(l)
				}
				table.Commit(note)
			}
			for _, c := range changes {
				if got := before[c.Prefix]; got != c.Old {
					t.Fatalf("change of %s was %v, says %v", c.Prefix, got, c.Old)
				}
				before[c.Prefix] = c.New
				delete(compressed, c.Prefix)
				if c.New.Ranking != c.New.Cover {
					compressed[c.Prefix] = c.New.Ranking
				}
			}
			after := states(table)
			for p := range before {
				if before[p] != after[p] {
					t.Fatalf("changes of %s lead to %v, the table says %v", p, before[p], after[p])
				}
			}
			if len(before) < len(after) {
				t.Fatalf("changes tell of %d prefixes, the table has %d", len(before), len(after))
			}
			check(t, table, ref, compressed, nLinks)
		}
	})
}

func states(t *Table) map[netip.Prefix]State {
	all := map[netip.Prefix]State{}
	for p, s := range t.States() {
		all[p] = s
	}
	return all
}

// drawPrefix picks from a small space, so that prefixes cover each other often.
func drawPrefix(t *rapid.T) netip.Prefix {
	bits := rapid.SampledFrom([]int{0, 8, 9, 10, 12, 16, 24, 32}).Draw(t, "bits")
	addr := netip.AddrFrom4([4]byte{10, byte(rapid.SampledFrom([]int{0, 64, 128, 192}).Draw(t, "b")), 0, byte(rapid.IntRange(0, 1).Draw(t, "d"))})
	return netip.PrefixFrom(addr, bits).Masked()
}

func check(t *rapid.T, table *Table, ref *reference, compressed map[netip.Prefix]RankingID, nLinks int) {
	var probes []netip.Addr
	for k := range ref.routes {
		probes = append(probes, k.prefix.Addr())
	}
	probes = append(probes, netip.MustParseAddr("10.64.0.1"), netip.MustParseAddr("11.0.0.1"))
	for mask := range 1 << nLinks {
		var dead route.LinkSet
		for i := range nLinks {
			if mask&(1<<i) != 0 {
				dead.Add(route.Link(i + 1))
			}
		}
		for _, dst := range probes {
			want := ref.lookup(dst, dead)
			_, id, _ := table.Lookup(netip.PrefixFrom(dst, 32))
			got := resolved(table, id, dead)
			if !slices.Equal(got, want) {
				t.Fatalf("%s with dead %v: ranking %v gives %v, want %v", dst, dead.Links(), table.Rankings().Get(id), got, want)
			}
			if got := resolved(table, longest(compressed, dst), dead); !slices.Equal(got, want) {
				t.Fatalf("%s with dead %v: compressed table gives %v, want %v", dst, dead.Links(), got, want)
			}
		}
	}
}

func resolved(table *Table, id RankingID, dead route.LinkSet) []route.Link {
	res := Resolve(table.Rankings().Get(id), dead, route.LinkSet{})
	if res.Outcome == NoTarget {
		return nil
	}
	return res.Links
}

func longest(routes map[netip.Prefix]RankingID, dst netip.Addr) RankingID {
	best, id := -1, RankingID(0)
	for p, r := range routes {
		if p.Contains(dst) && p.Bits() > best {
			best, id = p.Bits(), r
		}
	}
	return id
}

func TestStaleRoutesAreUsedUntilSwept(t *testing.T) {
	table := NewTable(route.IPv4)
	open := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true})
	a := &route.Attrs{Path: route.SequencePath(1)}
	kept, gone := netip.MustParsePrefix("8.0.0.0/8"), netip.MustParsePrefix("9.0.0.0/8")
	table.Apply(1, open, route.Update{Family: route.IPv4, Announced: []netip.Prefix{kept, gone}, Attrs: a}, 0)
	table.Commit(func(Change) {})
	table.MarkStale(1)
	table.Apply(1, open, route.Update{Family: route.IPv4, Announced: []netip.Prefix{kept}, Attrs: a}, 0)
	table.Commit(func(c Change) { t.Errorf("stale route changed the state of %s", c.Prefix) })
	if got := table.Counts(1).Stale; got != 1 {
		t.Errorf("stale = %d, want 1", got)
	}
	if n := table.Sweep(1); n != 1 {
		t.Errorf("swept %d, want 1", n)
	}
	var changed []string
	table.Commit(func(c Change) { changed = append(changed, fmt.Sprint(c.Prefix, c.New == State{})) })
	if want := []string{"9.0.0.0/8 true"}; !slices.Equal(changed, want) {
		t.Errorf("changes %v, want %v", changed, want)
	}
	if table.Len() != 1 {
		t.Errorf("%d prefixes left, want 1", table.Len())
	}
}

func TestLimitKeepsTheFirst(t *testing.T) {
	table := NewTable(route.IPv4)
	open := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true})
	u := route.Update{Family: route.IPv4, Attrs: &route.Attrs{Path: route.SequencePath(1)}}
	for i := range 10 {
		u.Announced = append(u.Announced, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i)}), 8))
	}
	if beyond := table.Apply(1, open, u, 4); beyond != 6 {
		t.Errorf("%d beyond the limit, want 6", beyond)
	}
	if beyond := table.Apply(1, open, u, 4); beyond != 6 || table.Counts(1).Received != 4 {
		t.Errorf("again: %d beyond, %d kept, want 6 and 4", beyond, table.Counts(1).Received)
	}
}

func TestWeightsMakeAnotherRanking(t *testing.T) {
	rs := NewRankings()
	tiers := [][]route.Link{{3, 1}, {2}}
	plain := rs.Intern(Ranking{Tiers: tiers})
	same := rs.Intern(Ranking{Tiers: tiers, Weights: map[route.Link]uint8{1: 1, 2: 7}})
	if same != plain {
		t.Error("a weight of a link that is alone in its tier makes another ranking")
	}
	weighted := rs.Intern(Ranking{Tiers: tiers, Weights: map[route.Link]uint8{1: 1, 3: 2}})
	again := rs.Intern(Ranking{Tiers: [][]route.Link{{1, 3}, {2}}, Weights: map[route.Link]uint8{3: 2}})
	drop := rs.Intern(Ranking{Tiers: tiers, Drop: true, Weights: map[route.Link]uint8{3: 2}})
	if weighted == plain || weighted != again || drop == weighted || drop == rs.Intern(Ranking{Tiers: tiers, Drop: true}) {
		t.Errorf("plain %d, weighted %d, the same again %d, with drop %d", plain, weighted, again, drop)
	}
	r := rs.Get(weighted)
	if r.Weight(1) != 1 || r.Weight(3) != 2 || r.Weight(2) != 1 || rs.Get(drop).Drop != true || !rs.Links(weighted).Has(3) {
		t.Errorf("%+v", r)
	}
}
