package fib

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"bothways/internal/kstate"
	"bothways/internal/lab/feed"
	"bothways/internal/policy"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// realTables loads the two ISPs' tables of one day, the circuit's feed, and the defaults that lie under them.
func realTables(t testing.TB) *rib.Table {
	t.Helper()
	table := rib.NewTable(route.IPv4)
	for l, p := range map[route.Link]rib.LinkParams{
		primary: {Path: 0, Preference: 150}, secondary: {Path: 0, Order: 1, Preference: 150},
		ispA: {Path: 1, Preference: 100}, ispB: {Path: 2, Preference: 100},
	} {
		table.SetLink(l, p)
	}
	for _, src := range []struct {
		name  string
		asn   uint32
		links []route.Link
	}{
		{"microsoft-peering", 12076, []route.Link{primary, secondary}}, {"isp-a", 2497, []route.Link{ispA}}, {"isp-b", 4777, []route.Link{ispB}},
	} {
		routes, err := feed.Load(src.name, src.asn)
		if err != nil {
			t.Fatal(err)
		}
		imp := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, Circuit: src.asn == 12076, NeighborAS: src.asn, AnyNextHop: true})
		for _, l := range src.links {
			attrs := map[string]*route.Attrs{}
			announce := func(p netip.Prefix, path []uint32) {
				a := &route.Attrs{Path: route.SequencePath(path...)}
				if have, ok := attrs[a.Path.String()]; ok {
					a = have
				}
				attrs[a.Path.String()] = a
				table.Apply(l, imp, route.Update{Family: route.IPv4, Announced: []netip.Prefix{p}, Attrs: a}, 0)
			}
			for _, r := range routes {
				if r.Prefix.Addr().Is4() {
					announce(r.Prefix, append([]uint32{src.asn}, r.Path...))
				}
			}
			if src.asn != 12076 {
				announce(route.IPv4.Default(), []uint32{src.asn})
			}
		}
	}
	return table
}

// TestRealTables holds that leaving out what changes no choice changes no answer, on real tables, for every prefix of
// them and for random addresses; and how little is left.
func TestRealTables(t *testing.T) {
	table := realTables(t)
	f := New(route.IPv4, Params{Compress: true}, table)
	all, small := 0, 0
	compressed := newLPM()
	table.Commit(func(c rib.Change) {
		all++
		f.Change(c, func(r kstate.RouteChange) {
			if r.Route.Table == kstate.Table {
				small++
				compressed.put(r.Route.Prefix, r.Route.Nexthop)
			}
		})
	})
	s := State{Present: route.NewLinkSet(primary, secondary, ispA, ispB)}
	f.Small(s, func(r kstate.RouteChange) {
		if r.Route.Table == kstate.Table && r.Route.Metric == kstate.MetricRanking {
			small++
			compressed.put(r.Route.Prefix, r.Route.Nexthop)
		}
	})
	rankings := map[kstate.NexthopID]bool{}
	check := func(dst netip.Addr) {
		_, rank, _ := table.Lookup(netip.PrefixFrom(dst, 32))
		want := f.groups.id(rank)
		got := compressed.get(dst)
		rankings[got] = true
		if got != want {
			t.Fatalf("%s: the compressed table says group %d, the whole one %d (%v)", dst, got, want, table.Rankings().Get(rank))
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for p := range table.States() {
		check(p.Addr())
		check(kstate.LastAddr(p))
	}
	for range 500_000 {
		a := random.Uint32()
		check(netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}))
	}
	t.Logf("%d prefixes, %d kernel routes, %d rankings", all, small, len(rankings))
	// Measured when the tables were chosen: 14,717 routes and 5 rankings; here the circuit has two links of one tier.
	if small < 10_000 || small > 16_000 || len(rankings) > 6 || len(rankings) < 4 {
		t.Errorf("%d prefixes need %d kernel routes and %d rankings", all, small, len(rankings))
	}
}

// lpm is longest match by one map per length: slow and obviously right.
type lpm struct {
	byBits [33]map[netip.Prefix]kstate.NexthopID
	bits   []int
}

func newLPM() *lpm { return &lpm{} }

func (l *lpm) put(p netip.Prefix, id kstate.NexthopID) {
	if l.byBits[p.Bits()] == nil {
		l.byBits[p.Bits()] = map[netip.Prefix]kstate.NexthopID{}
		l.bits = append(l.bits, p.Bits())
		slices.Sort(l.bits)
		slices.Reverse(l.bits)
	}
	l.byBits[p.Bits()][p] = id
}

func (l *lpm) get(a netip.Addr) kstate.NexthopID {
	for _, b := range l.bits {
		p, _ := a.Prefix(b)
		if id, ok := l.byBits[b][p]; ok {
			return id
		}
	}
	return 0
}

func BenchmarkRealTables(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		b.StopTimer()
		table := realTables(b)
		f := New(route.IPv4, Params{Compress: true}, table)
		b.StartTimer()
		n := 0
		table.Commit(func(c rib.Change) { n++; f.Change(c, func(kstate.RouteChange) {}) })
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/float64(b.N), "ns/prefix")
	}
}
