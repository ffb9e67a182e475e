package rib

import (
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
