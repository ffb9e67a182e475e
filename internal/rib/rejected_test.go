package rib

import (
	"net/netip"
	"testing"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// TestRejectedPrefixIsTransparent holds that a prefix of which every route is rejected changes no answer, whichever came
// first: neither its own, nor that of what lies inside it.
func TestRejectedPrefixIsTransparent(t *testing.T) {
	all := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, OwnAS: 65010, NeighborAS: 64601, AnyNextHop: true})
	some := policy.NewImport(policy.Params{Circuit: true, OwnAS: 65010, NeighborAS: 12076, AnyNextHop: true, Accept: policy.Accept{Prefixes: []netip.Prefix{netip.MustParsePrefix("4.1.0.0/16")}}})
	update := func(as uint32, list ...string) route.Update {
		u := route.Update{Family: route.IPv4, Attrs: &route.Attrs{Path: route.SequencePath(as), NextHop: netip.MustParseAddr("192.0.2.2")}}
		for _, p := range list {
			u.Announced = append(u.Announced, netip.MustParsePrefix(p))
		}
		return u
	}
	isp := func(tb *Table) { tb.Apply(1, all, update(64601, "0.0.0.0/0"), 0) }
	circuit := func(tb *Table) { tb.Apply(2, some, update(12076, "4.0.0.0/8", "4.1.0.0/16"), 0) }
	for name, steps := range map[string][]func(*Table){
		"rejected first": {circuit, isp}, "rejected last": {isp, circuit}, "in one": {func(tb *Table) { isp(tb); circuit(tb) }},
	} {
		tb := NewTable(route.IPv4)
		for l := range route.Link(3) {
			tb.SetLink(l, LinkParams{Path: int(l), Preference: 100 + uint32(l)})
		}
		// Others, so that a commit looks only at what changed.
		var others []string
		for i := range 200 {
			others = append(others, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i), 0, 0}), 16).String())
		}
		tb.Apply(1, all, update(64601, others...), 0)
		tb.Commit(func(Change) {})
		for _, step := range steps {
			step(tb)
			tb.Commit(func(Change) {})
		}
		for dst, want := range map[string][][]route.Link{"4.9.0.1/32": {{1}}, "4.0.0.0/8": {{1}}, "4.1.0.1/32": {{2}, {1}}, "9.9.9.9/32": {{1}}} {
			_, rank, ok := tb.Lookup(netip.MustParsePrefix(dst))
			got := tb.Rankings().Get(rank).Tiers
			if !ok || len(got) != len(want) {
				t.Errorf("%s: %s has ranking %v, want %v", name, dst, got, want)
			}
		}
	}
}
