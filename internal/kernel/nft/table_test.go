package nft

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// everything uses every node of the ruleset's language.
func everything() kstate.Ruleset {
	k := kstate.NewRule
	accept, jump := kstate.Verdict{Kind: kstate.Accept}, kstate.JumpTo("link_er0")
	return kstate.Ruleset{
		Counters: []string{"guard_transit", "foreign_replies"},
		Sets: []kstate.NftSet{
			{Name: "links", Type: kstate.Ifname, Interfaces: []string{"wan0", "er0", "x", "lan0", "er0.100"}},
			{Name: "inside4", Type: kstate.IPv4Addr, Prefixes: prefixes("10.30.0.0/16", "10.31.0.0/16", "192.0.2.1/32", "10.20.0.0/16", "224.0.0.0/3")},
			{Name: "inside6", Type: kstate.IPv6Addr, Prefixes: prefixes("fd20::/48")},
			{Name: "everywhere", Type: kstate.IPv4Addr, Prefixes: prefixes("0.0.0.0/0")},
			{Name: "seen4", Type: kstate.IPv4Addr, Dynamic: true, Timeout: 65 * time.Minute, Size: 1000},
			{Name: "seen6", Type: kstate.IPv6Addr, Dynamic: true, Timeout: 30 * time.Second, Size: 1000},
			{Name: "nobody", Type: kstate.Ifname},
		},
		Maps: []kstate.NftMap{
			{Name: "numbers", Type: kstate.Ifname, Marks: []kstate.MarkElement{{Interface: "wan0", Mark: 0x20000}, {Interface: "er0", Mark: 0x10000}}},
			{Name: "by_name", Type: kstate.Ifname, Verdicts: []kstate.VerdictElement{{Interface: "wan0", Verdict: kstate.GotoChain("link_er0")}, {Interface: "er0", Verdict: jump}}},
			{Name: "by_mark", Type: kstate.MarkKey, Verdicts: []kstate.VerdictElement{{Mark: 0x20000, Verdict: accept}, {Mark: 0x10000, Verdict: jump}}},
		},
		Chains: []kstate.NftChain{
			{Name: "link_er0", Rules: []kstate.NftRule{
				k(kstate.SetMark{Of: kstate.ConnMark, Mask: 0xff0000, Value: 0x10000}).WithComment("link %s, number 1", "er0"),
				k(kstate.SetMark{Of: kstate.PacketMark, Mask: 0xff0000}),
				k(kstate.SetMark{Of: kstate.PacketMark, Value: 0x10000}),
				k(kstate.Verdict{Kind: kstate.Return}),
			}},
			{Name: "raw_pre", Hook: kstate.Prerouting, Type: kstate.FilterChain, Priority: -300, Rules: []kstate.NftRule{
				k(kstate.MatchPort{Protocol: kstate.TCP, End: kstate.Source, Ports: []uint16{179}}, kstate.NoTrack{}),
				k(kstate.MatchPort{Protocol: kstate.UDP, End: kstate.Destination, Ports: []uint16{4784, 3784}}, kstate.NoTrack{}),
				k(kstate.MatchProtocol{Protocols: []kstate.L4Protocol{kstate.UDP, kstate.TCP}}, kstate.MatchPort{End: kstate.Destination, Not: true, Ports: []uint16{53}}, accept),
			}},
			{Name: "pre", Hook: kstate.Prerouting, Type: kstate.FilterChain, Priority: -150, Rules: []kstate.NftRule{
				k(kstate.MatchInterface{Names: []string{"er0"}}, kstate.Count{}, accept),
				k(kstate.MatchInterface{Not: true, Names: []string{"er0"}}, kstate.Count{Name: "guard_transit"}, kstate.Verdict{Kind: kstate.Drop}),
				k(kstate.MatchInterface{Names: []string{"wan0", "er0"}}, accept),
				k(kstate.MatchInterface{Set: "links"}, kstate.GotoChain("link_er0")),
				k(kstate.MatchInterface{Direction: kstate.In, Not: true, Set: "links"}, jump),
				k(kstate.MatchFamily{Family: route.IPv4}, accept),
				k(kstate.MatchFamily{Family: route.IPv6}, accept),
				k(kstate.MatchFamily{Family: route.IPv4}, kstate.MatchAddress{Prefixes: prefixes("10.0.0.1/32")}, accept),
				k(kstate.MatchAddress{Prefixes: prefixes("10.0.0.0/8")}, kstate.MatchAddress{End: kstate.Destination, Not: true, Prefixes: prefixes("10.0.0.0/9")}, accept),
				k(kstate.MatchAddress{End: kstate.Destination, Prefixes: prefixes("11.0.0.0/8", "10.0.0.0/9")}, accept),
				k(kstate.MatchAddress{End: kstate.Destination, Prefixes: prefixes("10.0.0.2/32", "10.0.0.1/32")}, accept),
				k(kstate.MatchAddress{Set: "inside4", Family: route.IPv4}, accept),
				k(kstate.MatchAddress{Prefixes: prefixes("fd20::/48")}, accept),
				k(kstate.MatchAddress{Prefixes: prefixes("fd20::/57")}, accept),
				k(kstate.MatchAddress{Prefixes: prefixes("2001:db8::1/128", "2001:db8:1::/48")}, accept),
				k(kstate.MatchAddress{End: kstate.Destination, Not: true, Set: "inside6", Family: route.IPv6}, accept),
				k(kstate.MatchAddress{Not: true, Prefixes: prefixes("fd20::1/128")}, accept),
				k(kstate.MatchAddress{Prefixes: prefixes("10.0.0.1/32")}, kstate.MatchPort{Protocol: kstate.TCP, End: kstate.Destination, Ports: []uint16{25}}, accept),
				k(kstate.MatchProtocol{Protocols: []kstate.L4Protocol{kstate.ICMPv6}}, accept),
				k(kstate.MatchProtocol{Not: true, Protocols: []kstate.L4Protocol{kstate.ICMP}}, accept),
				k(kstate.MatchState{States: kstate.StateNew}, accept),
				k(kstate.MatchState{States: kstate.StateEstablished | kstate.StateRelated}, accept),
				k(kstate.MatchState{Not: true, States: kstate.StateInvalid}, accept),
				k(kstate.MatchReply{}, accept),
				k(kstate.MatchReply{Original: true}, accept),
				k(kstate.MatchTranslated{}, accept),
				k(kstate.MatchTranslated{Not: true}, accept),
				k(kstate.MatchTranslated{Source: true}, accept),
				k(kstate.MatchTranslated{Source: true, Not: true}, accept),
				k(kstate.MatchFirst{}, accept),
				k(kstate.MatchImpossibleSource{}, accept),
				k(kstate.MatchAddress{Of: kstate.OfReplies, End: kstate.Destination, Prefixes: prefixes("10.0.0.0/16")}, accept),
				k(kstate.MatchAddress{Of: kstate.OfReplies, End: kstate.Destination, Prefixes: prefixes("10.16.0.0/13")}, accept),
				k(kstate.MatchAddress{Of: kstate.OfRequests, End: kstate.Destination, Prefixes: prefixes("10.0.0.1/32", "10.30.0.0/16")}, accept),
				k(kstate.MatchAddress{Of: kstate.OfRequests, Set: "inside4", Family: route.IPv4}, accept),
				k(kstate.MatchAddress{Of: kstate.OfReplies, End: kstate.Destination, Prefixes: prefixes("fd20::/48")}, accept),
				k(kstate.MatchFamily{Family: route.IPv4}, kstate.MatchAddress{Of: kstate.OfReplies, End: kstate.Destination, Set: "inside4", Family: route.IPv4}, accept),
				k(kstate.MatchAddress{Of: kstate.OfReplies, End: kstate.Destination, Not: true, Set: "inside6", Family: route.IPv6}, accept),
				k(kstate.MatchMark{Mask: 0xff0000, Value: 0x10000}, accept),
				k(kstate.MatchMark{Mask: 0xff0000, Not: true}, accept),
				k(kstate.MatchMark{Value: 7}, accept),
				k(kstate.MatchMark{Of: kstate.PacketMark, Mask: 0xff0000, Value: 0x10000}, accept),
				k(kstate.MatchMark{Of: kstate.PacketMark, Not: true, Value: 7}, accept),
				k(kstate.VerdictByInterface{Elements: []kstate.VerdictElement{{Interface: "wan0", Verdict: kstate.GotoChain("link_er0")}, {Interface: "er0", Verdict: jump}}}),
				k(kstate.VerdictByInterface{Map: "by_name"}),
				k(kstate.VerdictByMark{Mask: 0xff0000, Elements: []kstate.VerdictElement{{Mark: 0x20000, Verdict: jump}, {Mark: 0x10000, Verdict: accept}}}),
				k(kstate.VerdictByMark{Of: kstate.PacketMark, Mask: 0xff0000, Map: "by_mark"}),
				k(kstate.AddToSet{Set: "seen4", Family: route.IPv4}),
				k(kstate.AddToSet{Set: "seen6", Family: route.IPv6, End: kstate.Destination}),
			}},
			{Name: "through", Hook: kstate.Forward, Type: kstate.FilterChain, Priority: 5, Rules: []kstate.NftRule{
				k(kstate.MatchDSCP{Family: route.IPv4, Value: 10}, kstate.Count{}),
				k(kstate.MatchDSCP{Family: route.IPv6, Value: 46}, kstate.Count{}),
				k(kstate.MatchDSCP{Family: route.IPv4, Value: 45}, kstate.Count{}),
				k(kstate.MatchEcho{Family: route.IPv4, ID: 61441}, kstate.Count{}),
				k(kstate.MatchEcho{Family: route.IPv6, ID: 61442}, kstate.Count{}),
				k(kstate.MatchMark{Of: kstate.PacketMark, Mask: 0xff, Value: 1}, kstate.MatchAddress{Prefixes: prefixes("192.0.2.1/32")}, kstate.MatchEcho{Family: route.IPv4, ID: 61441}, accept),
				k(kstate.MatchSYN{}, kstate.MatchInterface{Direction: kstate.Out, Names: []string{"er0"}}, kstate.ClampMSS{}),
			}},
			{Name: "to_us", Hook: kstate.Input, Type: kstate.FilterChain, Priority: -20},
			{Name: "from_us", Hook: kstate.Output, Type: kstate.RouteChain, Priority: -150},
			{Name: "published", Hook: kstate.Prerouting, Type: kstate.NATChain, Priority: -100, Rules: []kstate.NftRule{
				k(kstate.MatchAddress{End: kstate.Destination, Prefixes: prefixes("198.51.100.70/32")}, kstate.DNAT{To: addr("10.20.0.70")}),
				k(kstate.MatchAddress{End: kstate.Destination, Prefixes: prefixes("198.51.100.70/32")}, kstate.MatchPort{Protocol: kstate.TCP, End: kstate.Destination, Ports: []uint16{25}}, kstate.DNAT{To: addr("10.20.0.70"), Port: 2525}),
				k(kstate.MatchPort{Protocol: kstate.TCP, End: kstate.Destination, Ports: []uint16{26}}, kstate.DNAT{To: addr("fd20::1"), Port: 25}),
				k(kstate.MatchAddress{End: kstate.Destination, Prefixes: prefixes("2001:db8:1::/48")}, kstate.DNATPrefix{To: netip.MustParsePrefix("fd20::/48")}),
			}},
			{Name: "pools", Hook: kstate.Postrouting, Type: kstate.NATChain, Priority: 95, Rules: []kstate.NftRule{
				k(kstate.MatchFamily{Family: route.IPv4}, kstate.MatchInterface{Direction: kstate.Out, Names: []string{"er0"}}, kstate.SNAT{From: addr("198.51.100.64"), To: addr("198.51.100.79"), Persistent: true}),
				k(kstate.MatchInterface{Direction: kstate.Out, Names: []string{"er0"}}, kstate.MatchAddress{Prefixes: prefixes("10.0.0.0/8")}, kstate.SNAT{From: addr("198.51.100.65"), To: addr("198.51.100.79"), Persistent: true}),
				k(kstate.SNAT{From: addr("198.51.100.64")}),
				k(kstate.SNAT{From: addr("2001:db8::1")}),
				k(kstate.MatchAddress{Prefixes: prefixes("fd20::/48")}, kstate.SNATPrefix{To: netip.MustParsePrefix("2001:db8:1::/48")}),
				k(kstate.Masquerade{Persistent: true}),
				k(kstate.Masquerade{}),
			}},
			{Name: "classes", Hook: kstate.Postrouting, Type: kstate.FilterChain, Priority: 150, Rules: []kstate.NftRule{k(kstate.SetPriority{Major: 0x9800, Minor: 0x10})}},
		},
	}
}

// words normalises white space.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

func compare(t *testing.T, listed, printed string) {
	t.Helper()
	// nft breaks long lists of elements into lines; apart from that lines are compared, for a readable difference.
	a, b := words(listed), words(printed)
	if a == b {
		return
	}
	as, bs := strings.Split(listed, "\n"), map[string]bool{}
	for _, l := range strings.Split(printed, "\n") {
		bs[words(l)] = true
	}
	for _, l := range as {
		if !bs[words(l)] {
			t.Errorf("nft lists only: %s", l)
		}
		delete(bs, words(l))
	}
	for l := range bs {
		t.Errorf("ruleset prints only: %s", l)
	}
}

func list(t testing.TB) string {
	t.Helper()
	return cmd(t, "nft list table inet bothways")
}

func TestReplaceIsWhatNftLists(t *testing.T) {
	h := open(t)
	ctx := context.Background()
	cmd(t, "nft add table inet other")
	cmd(t, "nft add chain inet other c { type filter hook input priority 0 ; }")
	other := cmd(t, "nft list table inet other")
	r := everything()
	for range 2 {
		if err := h.Replace(ctx, r); err != nil {
			t.Fatal(err)
		}
		compare(t, list(t), r.String())
	}
	if altered, what, err := h.Altered(ctx); altered || err != nil {
		t.Errorf("altered: %s, %v", what, err)
	}
	marks, err := h.Marks(ctx, "numbers")
	if err != nil || fmt.Sprint(marks) != "map[er0:65536 wan0:131072]" {
		t.Errorf("marks %v, %v", marks, err)
	}
	if marks, err := h.Marks(ctx, "no_such_map"); err != nil || len(marks) != 0 {
		t.Errorf("marks of no map %v, %v", marks, err)
	}
	interfaces, err := h.Interfaces(ctx, "links")
	if err != nil || fmt.Sprint(interfaces) != "[er0 er0.100 lan0 wan0 x]" {
		t.Errorf("interfaces %v, %v", interfaces, err)
	}
	if interfaces, err := h.Interfaces(ctx, "no_such_set"); err != nil || len(interfaces) != 0 {
		t.Errorf("interfaces of no set %v, %v", interfaces, err)
	}
	// What it prints is nft's language: loaded by nft, it lists the same.
	file := filepath.Join(t.TempDir(), "ruleset.nft")
	if err := os.WriteFile(file, []byte("delete table inet bothways\n"+r.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd(t, "nft -f "+file)
	compare(t, list(t), r.String())
	for range 2 {
		if err := h.Remove(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := cmd(t, "nft list tables"); words(got) != "table inet other" {
		t.Errorf("tables left: %s", got)
	}
	if got := cmd(t, "nft list table inet other"); got != other {
		t.Errorf("other table: %s", got)
	}
	if c, err := h.Counters(ctx); err != nil || len(c) != 0 {
		t.Errorf("counters without a table %v, %v", c, err)
	}
}

func TestReplaceIsAllOrNothing(t *testing.T) {
	h := open(t)
	ctx := context.Background()
	good := everything()
	if err := h.Replace(ctx, good); err != nil {
		t.Fatal(err)
	}
	for name, rule := range map[string]kstate.NftRule{
		"refused by the kernel": kstate.NewRule(kstate.ClampMSS{}), // in prerouting there is no route yet
		"no such counter":       kstate.NewRule(kstate.Count{Name: "missing"}),
		"no such set":           kstate.NewRule(kstate.MatchInterface{Set: "missing"}),
		"no such chain":         kstate.NewRule(kstate.JumpTo("missing")),
		"no such map":           kstate.NewRule(kstate.VerdictByInterface{Map: "numbers"}),
		"name too long":         kstate.NewRule(kstate.MatchInterface{Names: []string{"abcdefghijklmnop"}}),
		"value not in mask":     kstate.NewRule(kstate.SetMark{Mask: 0xff, Value: 0x100}),
		"port without protocol": kstate.NewRule(kstate.DNAT{To: addr("10.0.0.1"), Port: 5}),
		"overlap":               kstate.NewRule(kstate.MatchAddress{Prefixes: prefixes("10.0.0.0/8", "10.1.0.0/16")}),
		"families mixed":        kstate.NewRule(kstate.MatchAddress{Prefixes: prefixes("10.0.0.0/8", "fd00::/8")}),
	} {
		bad := everything()
		bad.Chains = append(bad.Chains, kstate.NftChain{Name: "bad", Hook: kstate.Prerouting, Type: kstate.FilterChain, Rules: []kstate.NftRule{rule}})
		err := h.Replace(ctx, bad)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		t.Logf("%s: %v", name, err)
		compare(t, list(t), good.String())
	}
	if err := h.Replace(ctx, good); err != nil {
		t.Errorf("after failures: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := h.Replace(cancelled, good); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestReplaceLarge(t *testing.T) {
	h := open(t)
	ctx := context.Background()
	r := kstate.Ruleset{
		Sets:   []kstate.NftSet{{Name: "many", Type: kstate.IPv4Addr}},
		Chains: []kstate.NftChain{{Name: "c"}},
	}
	for i := range 20_000 {
		r.Sets[0].Prefixes = append(r.Sets[0].Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 7), byte(i << 1), 0}), 24))
	}
	for i := range 3000 {
		r.Chains[0].Rules = append(r.Chains[0].Rules, kstate.NewRule(kstate.MatchAddress{Prefixes: prefixes(fmt.Sprintf("10.0.%d.%d/32", i>>8, i&255))}, kstate.Count{}, kstate.Verdict{Kind: kstate.Accept}))
	}
	for range 2 {
		start := time.Now()
		if err := h.Replace(ctx, r); err != nil {
			t.Fatal(err)
		}
		t.Logf("20,000 intervals and 3,000 rules: %s", time.Since(start))
		compare(t, list(t), r.String())
	}
}

func TestAltered(t *testing.T) {
	h := open(t)
	ctx := context.Background()
	if altered, _, err := h.Altered(ctx); err != nil || !altered {
		t.Errorf("before the first Replace: %t, %v", altered, err)
	}
	rule := func() string {
		for _, l := range strings.Split(run(t, "nft", "-a", "list", "chain", "inet", "bothways", "pre"), "\n") {
			if _, handle, ok := strings.Cut(l, "# handle "); ok && strings.Contains(l, "accept") && !strings.Contains(l, "chain") && !strings.Contains(l, "policy") {
				return handle
			}
		}
		return ""
	}
	for _, c := range []struct {
		name, command string
		altered       bool
	}{
		{"nothing", "true", false},
		{"other table", "nft add table inet other", false},
		{"counters reset", "nft reset counters table inet bothways", false},
		{"dynamic set", "nft add element inet bothways seen4 { 10.0.0.1 }", false},
		{"rule deleted", "nft delete rule inet bothways pre handle HANDLE", true},
		{"rule replaced", "nft replace rule inet bothways pre handle HANDLE drop", true},
		{"rule added", "nft add rule inet bothways pre drop", true},
		{"chain added", "nft add chain inet bothways new", true},
		{"policy", "nft chain inet bothways to_us { policy drop ; }", true},
		{"element deleted", "nft delete element inet bothways numbers { er0 }", true},
		{"chain flushed", "nft flush chain inet bothways pools", true},
		{"table deleted", "nft delete table inet bothways", true},
		{"ruleset flushed", "nft flush ruleset", true},
	} {
		if err := h.Replace(ctx, everything()); err != nil {
			t.Fatal(err)
		}
		cmd(t, strings.Replace(c.command, "HANDLE", rule(), 1))
		for range 2 {
			altered, what, err := h.Altered(ctx)
			if err != nil || altered != c.altered {
				t.Errorf("%s: altered %t (%s), %v", c.name, altered, what, err)
			}
			if altered {
				t.Logf("%s: %s", c.name, what)
			}
		}
	}
}

func BenchmarkAltered(b *testing.B) {
	h := open(b)
	if err := h.Replace(context.Background(), everything()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := h.Altered(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
