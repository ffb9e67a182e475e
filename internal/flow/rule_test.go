package flow

import (
	"net/netip"
	"testing"

	"bothways/internal/route"
)

func TestRule(t *testing.T) {
	f := Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.9.1:1000"), Destination: netip.MustParseAddrPort("4.0.0.1:443")}
	in := f
	in.Inbound = true
	list := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	rows := []struct {
		name string
		p    RuleParams
		f    Flow
		want bool
	}{
		{"anything", RuleParams{}, f, true},
		{"opened from outside", RuleParams{}, in, false},
		{"from", RuleParams{From: list("10.20.9.0/24")}, f, true},
		{"not from", RuleParams{From: list("10.20.8.0/24")}, f, false},
		{"to", RuleParams{To: list("4.0.0.0/8")}, f, true},
		{"not to", RuleParams{To: list("5.0.0.0/8")}, f, false},
		{"protocol and port", RuleParams{Protocol: 6, Ports: []uint16{25, 443}}, f, true},
		{"another port", RuleParams{Protocol: 6, Ports: []uint16{25}}, f, false},
		{"another protocol", RuleParams{Protocol: 17}, f, false},
	}
	for _, row := range rows {
		if got := NewRule(row.p).Matches(row.f); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
