package nat

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

var update = flag.Bool("update", false, "write the golden file")

func example() Params {
	net := netip.MustParsePrefix
	dscp := uint8(10)
	return Params{
		Mask:   0xff00,
		Inside: []string{"lan0"},
		Steer: []Steer{
			{Name: "azure-vpn", To: []netip.Prefix{net("20.36.1.7/32"), net("20.36.1.7/32")}},
			{Name: "snapshots", From: []netip.Prefix{net("10.20.9.0/24")}, To: []netip.Prefix{net("20.36.0.0/16"), net("20.36.2.0/24"), net("40.0.0.0/8")},
				Protocol: kstate.TCP, Ports: []uint16{443}, DSCP: &dscp, Sticky: true, Mark: 0xff00, Limits: []Limit{{Link: 3, Minor: 2}}},
			{Name: "nothing to do here", To: []netip.Prefix{net("9.0.0.0/8")}, Sticky: true},
		},
		Links: []Link{
			{Number: 1, Name: "expressroute/primary", Interface: "er0", BFD: true, Circuit: true, Neighbors: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
				Reply: 0xfe00, Proofs: []Proof{{netip.MustParseAddr("198.51.100.64"), 0xf001}, {netip.MustParseAddr("2001:db8:100::1"), 0xf002}},
				Publish: []Publish{
					{Outside: netip.MustParseAddr("198.51.100.70"), Inside: netip.MustParseAddr("10.20.0.70")},
					{Outside: netip.MustParseAddr("198.51.100.71"), Inside: netip.MustParseAddr("10.20.0.71"), Protocol: kstate.TCP, Port: 25, To: 2525, SourceNAT: true},
				},
				Entries: []Entry{
					{Network: net("fd20::/48"), Kind: Prefix, To: net("2001:db8:100::/48")},
					{Network: net("10.20.0.0/16"), Kind: Pool, To: net("198.51.100.64/28")}}},
			{Number: 3, Name: "isp-b/main", Interface: "wan1", Addresses: []netip.Addr{netip.MustParseAddr("198.18.2.2")},
				Entries: []Entry{
					{Network: net("10.20.9.0/24"), Kind: None},
					{Network: net("10.20.0.0/16"), Kind: Interface}}},
		},
	}
}

// TestRuleset compares the table with what is under testdata, which reads as nft lists it. -update writes it.
func TestRuleset(t *testing.T) {
	const golden = "testdata/ruleset.nft"
	got := Ruleset(example()).String()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the table differs from %s:\n%s", golden, got)
	}
}

func TestRulesetIsTheSameForTheSame(t *testing.T) {
	a, b := Ruleset(example()).String(), Ruleset(example()).String()
	if a != b {
		t.Error("two tables of the same parameters differ")
	}
}

// TestManyLinks holds that the table of as many links as there can be stays within what the kernel takes: no anonymous set
// grows with the number of links.
func TestManyLinks(t *testing.T) {
	p := Params{Mask: 0xff, Inside: []string{"lan0"}}
	for i := range 255 {
		name := fmt.Sprintf("path%d", i)
		p.Links = append(p.Links, Link{Number: route.Link(i + 1), Name: name + "/main", Interface: fmt.Sprintf("wan%d", i),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i), 1})},
			Entries:   []Entry{{Network: netip.MustParsePrefix("10.20.0.0/16"), Kind: Pool, To: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i), 0}), 27)}}})
	}
	for _, c := range Ruleset(p).Chains {
		for _, r := range c.Rules {
			for _, part := range r.Parts {
				if m, ok := part.(kstate.MatchAddress); ok && len(m.Prefixes) > 8 {
					t.Fatalf("chain %s has an anonymous set of %d prefixes", c.Name, len(m.Prefixes))
				}
			}
		}
	}
}

// TestObserveDropsNothingForItsPath holds that a site which only observes neither gives packets the mark of their connection nor
// drops what takes another path.
func TestObserveDropsNothingForItsPath(t *testing.T) {
	for _, observe := range []bool{false, true} {
		p := example()
		p.Observe = observe
		dropped, restored := 0, 0
		for _, c := range Ruleset(p).Chains {
			for _, r := range c.Rules {
				text := r.String()
				if strings.Contains(text, GuardForeign) && strings.HasSuffix(strings.Split(text, " comment")[0], "drop") {
					dropped++
				}
				if strings.Contains(text, "goto restore_1") || strings.Contains(text, "goto reply_1") {
					restored++
				}
			}
		}
		if observe != (dropped == 0) || observe != (restored == 0) {
			t.Errorf("observe %v: %d rules drop foreign addresses, %d restore marks", observe, dropped, restored)
		}
	}
}
