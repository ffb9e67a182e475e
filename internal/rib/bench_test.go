package rib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// full is a table of the Internet's size and shape of lengths, in UPDATEs that share attribute sets.
func full(n int) []route.Update {
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[netip.Prefix]bool{}
	var out []route.Update
	for i := 0; len(seen) < n; i++ {
		u := route.Update{Family: route.IPv4, Attrs: &route.Attrs{Path: route.SequencePath(1, uint32(i), uint32(i%977)), NextHop: netip.AddrFrom4([4]byte{192, 0, 2, 2})}}
		for range 16 {
			bits := []int{24, 24, 24, 24, 24, 24, 23, 22, 22, 21, 20, 19, 18, 16}[random.IntN(14)]
			p, _ := netip.AddrFrom4([4]byte{byte(1 + random.IntN(120)), byte(random.IntN(256)), byte(random.IntN(256))}).Prefix(bits)
			if p.Addr().As4()[0] != 10 && !seen[p] && len(seen) < n {
				seen[p] = true
				u.Announced = append(u.Announced, p)
			}
		}
		out = append(out, u)
	}
	return out
}

func loadAll(t *Table, l route.Link, imp *policy.Import, updates []route.Update) {
	for i, u := range updates {
		t.Apply(l, imp, u, 0)
		if i%128 == 127 {
			t.Commit(func(Change) {})
		}
	}
	t.Commit(func(Change) {})
}

// stageAll loads a table as the engine does before the End-of-RIB.
func stageAll(t *Table, l route.Link, imp *policy.Import, updates []route.Update) {
	for _, u := range updates {
		t.Stage(l, imp, u, 0)
	}
	t.Take(l)
	t.Commit(func(Change) {})
}

func openImport() *policy.Import {
	return policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true, Own: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}})
}

const benchPrefixes = 500_000

func BenchmarkLoad(b *testing.B) {
	updates := full(benchPrefixes)
	imp := openImport()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		t := NewTable(route.IPv4)
		t.SetLink(1, LinkParams{Preference: 100})
		loadAll(t, 1, imp, updates)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchPrefixes, "ns/route")
}

// BenchmarkStage is a table that is sorted before it is taken.
func BenchmarkStage(b *testing.B) {
	updates := full(benchPrefixes)
	imp := openImport()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		t := NewTable(route.IPv4)
		t.SetLink(1, LinkParams{Preference: 100})
		stageAll(t, 1, imp, updates)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchPrefixes, "ns/route")
}

// BenchmarkStageSecondPeer is the same from a better peer.
func BenchmarkStageSecondPeer(b *testing.B) {
	updates := full(benchPrefixes)
	imp := openImport()
	b.ReportAllocs()
	for range b.N {
		b.StopTimer()
		t := NewTable(route.IPv4)
		t.SetLink(1, LinkParams{Preference: 100})
		t.SetLink(2, LinkParams{Preference: 150})
		stageAll(t, 1, imp, updates)
		b.StartTimer()
		stageAll(t, 2, imp, updates)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchPrefixes, "ns/route")
}

// BenchmarkTakeTwo takes the tables of two peers that are staged: one after the other and decided then, or all in one walk.
func BenchmarkTakeTwo(b *testing.B) {
	updates := full(benchPrefixes)
	imp := openImport()
	for _, all := range []bool{false, true} {
		b.Run(fmt.Sprintf("all=%v", all), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				b.StopTimer()
				t := NewTable(route.IPv4)
				for l := range route.Link(2) {
					t.SetLink(l, LinkParams{Preference: 100, Path: int(l)})
					for _, u := range updates {
						t.Stage(l, imp, u, 0)
					}
				}
				b.StartTimer()
				if all {
					t.TakeAll([]route.Link{0, 1}, func(Change) {})
					continue
				}
				t.Take(0)
				t.Take(1)
				t.Commit(func(Change) {})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchPrefixes/2, "ns/route")
		})
	}
}

// BenchmarkSecondPeer loads the same from a better peer, so that every best route changes.
func BenchmarkSecondPeer(b *testing.B) {
	updates := full(benchPrefixes)
	imp := openImport()
	b.ReportAllocs()
	for range b.N {
		b.StopTimer()
		t := NewTable(route.IPv4)
		t.SetLink(1, LinkParams{Preference: 100})
		t.SetLink(2, LinkParams{Preference: 150})
		loadAll(t, 1, imp, updates)
		b.StartTimer()
		loadAll(t, 2, imp, updates)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchPrefixes, "ns/route")
}

// BenchmarkPeerGone takes the routes of the better peer out again.
func BenchmarkPeerGone(b *testing.B) {
	updates := full(benchPrefixes)
	imp := openImport()
	for range b.N {
		b.StopTimer()
		t := NewTable(route.IPv4)
		t.SetLink(1, LinkParams{Preference: 100})
		t.SetLink(2, LinkParams{Preference: 150})
		loadAll(t, 1, imp, updates)
		loadAll(t, 2, imp, updates)
		b.StartTimer()
		t.RemoveLink(2)
		t.Commit(func(Change) {})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchPrefixes, "ns/route")
}

// BenchmarkWithdraw takes back what was announced, prefix by prefix.
func BenchmarkWithdraw(b *testing.B) {
	updates := full(benchPrefixes)
	imp := openImport()
	b.ReportAllocs()
	for range b.N {
		b.StopTimer()
		t := NewTable(route.IPv4)
		t.SetLink(1, LinkParams{Preference: 100})
		loadAll(t, 1, imp, updates)
		b.StartTimer()
		for i, u := range updates {
			t.Apply(1, imp, route.Update{Family: route.IPv4, Withdrawn: u.Announced}, 0)
			if i%128 == 127 {
				t.Commit(func(Change) {})
			}
		}
		t.Commit(func(Change) {})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchPrefixes, "ns/route")
}

// BenchmarkLookup asks for the longest match of addresses all over the table.
func BenchmarkLookup(b *testing.B) {
	updates := full(benchPrefixes)
	t := NewTable(route.IPv4)
	t.SetLink(1, LinkParams{Preference: 100})
	loadAll(t, 1, openImport(), updates)
	random := rand.New(rand.NewPCG(3, 4))
	hosts := make([]netip.Prefix, 1<<16)
	for i := range hosts {
		all := updates[random.IntN(len(updates))].Announced
		if len(all) == 0 {
			all = updates[0].Announced
		}
		hosts[i] = netip.PrefixFrom(all[random.IntN(len(all))].Addr().Next(), 32)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, _, ok := t.Lookup(hosts[i%len(hosts)]); !ok {
			b.Fatal("no match")
		}
	}
}

// BenchmarkResolve decides for a ranking with dead links, as it is done for each ranking in use at a failure.
func BenchmarkResolve(b *testing.B) {
	r := Ranking{Tiers: [][]route.Link{{1, 2}, {3}, {4, 5}}}
	dead, drained := route.NewLinkSet(1, 3), route.NewLinkSet(2)
	b.ReportAllocs()
	for range b.N {
		if Resolve(r, dead, drained).Tier != 2 {
			b.Fatal("another tier")
		}
	}
}

// BenchmarkJoin makes the ranking of a prefix from its own candidates and its cover's, as each change of a prefix does.
func BenchmarkJoin(b *testing.B) {
	rs := NewRankings()
	own, cover := rs.Intern(Ranking{Tiers: [][]route.Link{{1}}}), rs.Intern(Ranking{Tiers: [][]route.Link{{2}, {1, 3}}})
	b.ReportAllocs()
	for range b.N {
		if rs.Join(own, cover) == own {
			b.Fatal("the cover is left out")
		}
	}
}
