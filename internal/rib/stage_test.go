package rib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// TestStagedIsAsApplied says the same to three tables, two of which stage it and take it now and then, in lots that are
// small and large beside the table: one link by link, one all at once.
func TestStagedIsAsApplied(t *testing.T) {
	var rules []*policy.Import
	for _, own := range []string{"64.0.0.0/6", "2000::/5", "32.0.0.0/4"} {
		rules = append(rules, policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true, Own: []netip.Prefix{netip.MustParsePrefix(own)}}))
	}
	for _, f := range route.Families() {
		t.Run(f.String(), func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, uint64(f)))
			applied, staged, whole := NewTable(f), NewTable(f), NewTable(f)
			attrs := make([]*route.Attrs, 5)
			for i := range attrs {
				attrs[i] = &route.Attrs{Path: route.SequencePath([]uint32{1, 2, 3, 4, 5}[:i+1]...), Serial: uint32(i * heldMost / 2)} // some meet
			}
			for l := range route.Link(3) {
				for _, x := range []*Table{applied, staged, whole} {
					x.SetLink(l, LinkParams{Preference: 100, Path: int(l)})
				}
			}
			imports := []*policy.Import{rules[0], rules[0], rules[0]}
			for _, lot := range []int{3000, 10, 2500, 1, 3000, 100, 0, 4000} {
				for range lot {
					l := route.Link(random.IntN(3))
					u := route.Update{Family: f}
					for range random.IntN(3) {
						u.Withdrawn = append(u.Withdrawn, someFew(random, f))
					}
					if random.IntN(4) > 0 {
						u.Announced, u.Attrs = []netip.Prefix{someFew(random, f), someFew(random, f)}, attrs[random.IntN(len(attrs))]
					}
					applied.Apply(l, imports[l], u, 0)
					staged.Stage(l, imports[l], u, 0)
					whole.Stage(l, imports[l], u, 0)
					if random.IntN(1000) == 0 {
						imports[l] = rules[random.IntN(len(rules))]
						for _, x := range []*Table{applied, staged, whole} {
							x.Rejudge(l, imports[l])
						}
					}
					if random.IntN(2000) == 0 {
						applied.RemoveLink(l)
						staged.RemoveLink(l)
						whole.RemoveLink(l)
					}
				}
				applied.Commit(func(Change) {})
				for l := range route.Link(3) {
					if lot > 1000 && staged.Counts(l).Staged == 0 {
						t.Fatalf("link %d: nothing is staged", l)
					}
					staged.Take(l)
				}
				staged.Commit(func(Change) {})
				sameTables(t, applied, staged)
				var passed []netip.Prefix
				clean := whole.dirty.n == 0
				whole.TakeAll([]route.Link{0, 1, 2}, func(c Change) { passed = append(passed, c.Prefix) })
				sameTables(t, applied, whole)
				if lot > 1000 && clean && !slices.IsSortedFunc(passed, route.ComparePrefix) {
					t.Fatal("changes are in no order")
				}
			}
			for _, x := range []*Table{staged, whole} {
				for l := range route.Link(3) {
					x.RemoveLink(l)
				}
				x.Commit(func(Change) {})
				if sets := len(x.sets) - 1 - len(x.spares); x.Len() != 0 || sets != 0 {
					t.Errorf("%d prefixes and %d attribute sets are left of nothing", x.Len(), sets)
				}
			}
		})
	}
}

func sameTables(t *testing.T, want, got *Table) {
	t.Helper()
	show := func(x *Table) (all []string) {
		for p, s := range x.States() {
			rs := x.Rankings()
			all = append(all, fmt.Sprint(p, rs.Get(s.Own), rs.Get(s.Cover), rs.Get(s.Ranking), x.Covering(p)))
			var entries []string
			for _, e := range x.Entries(p) {
				entries = append(entries, fmt.Sprint(e))
			}
			slices.Sort(entries) // rejected ones come in no order
			all = append(all, entries...)
		}
		for l := range route.Link(3) {
			all = append(all, fmt.Sprint(x.Counts(l)))
		}
		return all
	}
	a, b := show(want), show(got)
	if len(a) != len(b) {
		t.Fatalf("%d lines, want %d", len(b), len(a))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("found %s, want %s", b[i], a[i])
		}
	}
}

// TestStageKeepsTheLimit: what is said twice counts once, and what is beyond the limit is told at once.
func TestStageKeepsTheLimit(t *testing.T) {
	imp := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true})
	table := NewTable(route.IPv4)
	table.SetLink(1, LinkParams{Preference: 100})
	a := &route.Attrs{Path: route.SequencePath(1)}
	say := func(third byte) int {
		return table.Stage(1, imp, route.Update{Family: route.IPv4, Attrs: a, Announced: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{1, 2, third}), 24)}}, 3)
	}
	for i, third := range []byte{1, 1, 1, 1, 2, 2, 3, 3, 1} {
		if beyond := say(third); beyond != 0 {
			t.Errorf("announcement %d: %d are beyond the limit", i, beyond)
		}
	}
	if beyond := say(4); beyond != 1 {
		t.Errorf("a fourth prefix: %d are beyond the limit, want 1", beyond)
	}
	table.Take(1)
	if n := table.Counts(1).Received; n != 3 {
		t.Errorf("%d routes, want 3", n)
	}
}

// TestStaticBehindWhatIsStaged: a default that is set again is there whatever was staged before.
func TestStaticBehindWhatIsStaged(t *testing.T) {
	imp := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true})
	table := NewTable(route.IPv4)
	table.SetStatic(1, true)
	table.Stage(1, imp, route.Update{Family: route.IPv4, Withdrawn: []netip.Prefix{route.IPv4.Default()}}, 0)
	table.SetStatic(1, true)
	table.Take(1)
	if table.Counts(1).Received != 1 {
		t.Error("the default is gone")
	}
}
