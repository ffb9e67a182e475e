package rib

import (
	"fmt"
	"math/rand"
	"net/netip"
	"testing"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// TestLeavesThatEmpty withdraws long runs of neighboring prefixes, so that whole leaves of the index become empty beside full
// ones, and asks for what was there: the default answers.
func TestLeavesThatEmpty(t *testing.T) {
	for _, f := range route.Families() {
		for seed := range int64(60) {
			r := rand.New(rand.NewSource(seed))
			open := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true})
			tb := NewTable(f)
			tb.SetLink(1, LinkParams{Preference: 100})
			nth := func(i int) netip.Prefix {
				if f == route.IPv6 {
					// Of one /64, so that the upper half of the key does not tell them apart.
					return netip.MustParsePrefix(fmt.Sprintf("2001:db8::%x:0/112", i))
				}
				return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
			}
			const n = 600
			have := map[int]bool{}
			attrs := &route.Attrs{Path: route.SequencePath(1)}
			apply := func(u route.Update) {
				u.Family = f
				tb.Apply(1, open, u, 0)
				tb.Commit(func(Change) {})
			}
			apply(route.Update{Announced: []netip.Prefix{f.Default()}, Attrs: attrs})
			for _, i := range r.Perm(n) {
				apply(route.Update{Announced: []netip.Prefix{nth(i)}, Attrs: attrs})
				have[i] = true
			}
			for range 10 {
				first, count := r.Intn(n), r.Intn(150)
				for i := first; i < min(first+count, n); i++ {
					apply(route.Update{Withdrawn: []netip.Prefix{nth(i)}})
					delete(have, i)
				}
				for i := range n {
					want := f.Default()
					if have[i] {
						want = nth(i)
					}
					a := nth(i).Addr().Next()
					if got, rank, ok := tb.Lookup(netip.PrefixFrom(a, a.BitLen())); !ok || got != want || rank == 0 {
						t.Fatalf("%s, seed %d: %s is matched by %s (%v), want %s", f, seed, a, got, ok, want)
					}
				}
			}
		}
	}
}

// BenchmarkInsertOneNetwork loads prefixes of one /64, as a hostile neighbor may announce them.
func BenchmarkInsertOneNetwork(b *testing.B) {
	open := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true})
	attrs := &route.Attrs{Path: route.SequencePath(1)}
	for b.Loop() {
		tb := NewTable(route.IPv6)
		tb.SetLink(1, LinkParams{Preference: 100})
		base := netip.MustParseAddr("2001:db8::").As16()
		for i := range 100_000 {
			a := base
			a[12], a[13], a[14], a[15] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
			tb.Apply(1, open, route.Update{Family: route.IPv6, Announced: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16(a), 128)}, Attrs: attrs}, 0)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/route")
}
