package policy

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"bothways/internal/route"
)

// TestPrefix holds the judgement of a prefix against the rules as they read.
func TestPrefix(t *testing.T) {
	within := func(p netip.Prefix, list []netip.Prefix) bool {
		for _, q := range list {
			if q = q.Masked(); q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
				return true
			}
		}
		return false
	}
	rapid.Check(t, func(t *rapid.T) {
		some := func(what string) netip.Prefix {
			if rapid.Bool().Draw(t, what+" of a list") {
				list := append(martians(), privates()...)
				q := rapid.SampledFrom(list).Draw(t, what)
				return netip.PrefixFrom(q.Addr(), rapid.IntRange(max(q.Bits()-2, 0), q.Addr().BitLen()).Draw(t, "bits")).Masked()
			}
			if rapid.Bool().Draw(t, what+" is ipv6") {
				a := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, what)))
				if !a.Is4In6() {
					return netip.PrefixFrom(a, rapid.IntRange(0, 128).Draw(t, "bits")).Masked()
				}
			}
			a := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, what)))
			return netip.PrefixFrom(a, rapid.IntRange(0, 32).Draw(t, "bits")).Masked()
		}
		params := Params{Accept: Accept{All: rapid.Bool().Draw(t, "all")}, NeighborAS: 1, AnyNextHop: true, Circuit: rapid.Bool().Draw(t, "circuit")}
		for range rapid.IntRange(0, 3).Draw(t, "own") {
			p := some("own")
			params.Own = append(params.Own, netip.PrefixFrom(p.Addr().Next(), p.Bits())) // as an interface has it
		}
		p := some("prefix")
		want := Accepted
		switch {
		case p.Bits() > 0 && within(p, martians()):
			want = Martian
		case p.Bits() > 0 && within(p, params.Own):
			want = OwnPrefix
		case params.Circuit && p.Bits() == 0:
			want = CircuitDefault
		case params.Circuit && within(p, privates()):
			want = CircuitPrivate
		case !params.Accept.All:
			want = NotAccepted
		}
		got := NewImport(params).Attrs(&route.Attrs{Path: route.SequencePath(1)}).Prefix(p)
		if got != want {
			t.Fatalf("%s with %+v: %v, want %v", p, params, got, want)
		}
	})
}
