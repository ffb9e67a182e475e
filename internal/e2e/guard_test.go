package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"bothways/internal/kernel/nft"
	"bothways/internal/kstate"
	"bothways/internal/lab/netns"
	"bothways/internal/nat"
	"bothways/internal/route"
)

// guarded is an edge with our table and nothing else of ours: an inside, and two links of different paths.
type guarded struct {
	t               *testing.T
	edge, lan, a, b *netns.Namespace
	table           *nft.Handle
	lanTap, aTap    *tap
	bTap            *tap
	marker          byte
	counted         map[string]uint64
	fromLAN, fromA  func(packet []byte)
	fromB           func(packet []byte)
}

func addressOf(s string) netip.Addr { return netip.MustParseAddr(s) }

// guardedParams has pools for IPv4 and prefixes for IPv6, and a host that is published on link 1.
func guardedParams() nat.Params {
	net := netip.MustParsePrefix
	link := func(number byte, path, dev, own, own6, pool, prefix, neighbor string) nat.Link {
		return nat.Link{Name: path + "/main", Interface: dev, Addresses: []netip.Addr{addressOf(own), addressOf(own6)}, Neighbors: []netip.Addr{addressOf(neighbor)},
			Entries: []nat.Entry{{Network: net("fd20::/64"), Kind: nat.Prefix, To: net(prefix)}, {Network: net("10.20.0.0/16"), Kind: nat.Pool, To: net(pool)}}}
	}
	p := nat.Params{Mask: 0xff, Inside: []string{"lan0"}, Networks: []netip.Prefix{net("10.20.0.0/16"), net("fd20::/64")}, Links: []nat.Link{
		link(1, "a", "up1", "192.0.2.1", "2001:db8:1::1", "198.51.100.0/28", "2001:db8:a::/64", "192.0.2.2"),
		link(2, "b", "up2", "192.0.2.5", "2001:db8:2::1", "198.51.100.16/28", "2001:db8:b::/64", "192.0.2.6")}}
	p.Links[0].Number, p.Links[1].Number = 1, 2
	p.Links[0].Publish = []nat.Publish{{Outside: addressOf("198.51.100.40"), Inside: addressOf("10.20.0.40")}}
	return p
}

// fewAndMany runs a test with so few interfaces that packets are compared with each, and with so many that they are looked up.
func fewAndMany(t *testing.T, test func(g *guarded, p nat.Params)) {
	t.Parallel()
	t.Run("few", func(t *testing.T) { test(newGuarded(t), guardedParams()) })
	t.Run("many", func(t *testing.T) {
		p := guardedParams()
		for i := range 6 {
			p.Inside = append(p.Inside, fmt.Sprintf("lan%d", i+1))
			p.Links = append(p.Links, nat.Link{Number: route.Link(i + 3), Name: fmt.Sprintf("c%d/main", i), Interface: fmt.Sprintf("up%d", i+3),
				Entries: []nat.Entry{{Network: netip.MustParsePrefix("10.20.0.0/16"), Kind: nat.Interface}}})
		}
		test(newGuarded(t), p)
	})
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, counted: map[string]uint64{}}
	for _, n := range []struct {
		to   **netns.Namespace
		name string
	}{{&g.edge, "edge"}, {&g.lan, "lan"}, {&g.a, "a"}, {&g.b, "b"}} {
		space, err := netns.New(n.name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(space.Close)
		*n.to = space
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []struct {
		far               *netns.Namespace
		dev               string
		own, own6, a4, a6 string
	}{
		{g.lan, "lan0", "10.20.0.1/16", "fd20::1/64", "10.20.0.10/16", "fd20::10/64"},
		{g.a, "up1", "192.0.2.1/30", "2001:db8:1::1/64", "192.0.2.2/30", "2001:db8:1::2/64"},
		{g.b, "up2", "192.0.2.5/30", "2001:db8:2::1/64", "192.0.2.6/30", "2001:db8:2::2/64"},
	} {
		pair := func(a, b string) []netip.Prefix {
			return []netip.Prefix{netip.MustParsePrefix(a), netip.MustParsePrefix(b)}
		}
		must(netns.Wire(netns.End{In: g.edge, Name: w.dev, Addresses: pair(w.own, w.own6)}, netns.End{In: w.far, Name: "eth0", Addresses: pair(w.a4, w.a6)}))
	}
	for key, value := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/conf/all/rp_filter": "0",
		"ipv4/conf/lan0/accept_local": "1", "ipv4/conf/lan0/rp_filter": "0", "ipv4/conf/up1/rp_filter": "0", "ipv4/conf/up2/rp_filter": "0"} {
		must(g.edge.Sysctl(key, value))
	}
	// 9.0.0.0/8 and 2a00:9::/32 lie behind link 2, everything else behind the default.
	must(g.edge.Route(netip.MustParsePrefix("9.0.0.0/8"), 1, netns.Hop{Interface: "up2", Gateway: addressOf("192.0.2.6")}))
	must(g.edge.Route(netip.MustParsePrefix("2a00:9::/32"), 1, netns.Hop{Interface: "up2", Gateway: addressOf("2001:db8:2::2")}))
	g.defaults("up1", 2)
	must(g.edge.Do(func() (err error) { g.table, err = nft.Open(); return err }))
	t.Cleanup(func() { g.table.Close() })
	g.lanTap, g.aTap, g.bTap = newTap(t, g.lan), newTap(t, g.a), newTap(t, g.b)
	g.fromLAN, g.fromA, g.fromB = injector(t, g.lan, g.edge, "lan0"), injector(t, g.a, g.edge, "up1"), injector(t, g.b, g.edge, "up2")
	// Neighbors are asked for before packets depend on it.
	for _, n := range []struct {
		dev     string
		far     *netns.Namespace
		address string
	}{{"lan0", g.lan, "10.20.0.10"}, {"lan0", g.lan, "fd20::10"}, {"lan0", g.lan, "10.20.0.40"}, {"up1", g.a, "192.0.2.2"}, {"up1", g.a, "2001:db8:1::2"},
		{"up2", g.b, "192.0.2.6"}, {"up2", g.b, "2001:db8:2::2"}} {
		must(g.neighbor(n.dev, n.far, addressOf(n.address)))
	}
	return g
}

func (g *guarded) replace(r kstate.Ruleset) {
	g.t.Helper()
	if err := g.table.Replace(context.Background(), r); err != nil {
		g.t.Fatal(err)
	}
	g.counted = map[string]uint64{}
}

// guards wants exactly this many more packets in a guard, and none in the others.
func (g *guarded) guards(what, guard string, n uint64) {
	g.t.Helper()
	counters, err := g.table.Counters(context.Background())
	if err != nil {
		g.t.Fatal(err)
	}
	for name, c := range counters {
		want := uint64(0)
		if name == guard {
			want = n
		}
		if nat.IsGuard(name) && c.Packets-g.counted[name] != want {
			g.t.Errorf("%s: %s counts %d packets, want %d", what, name, c.Packets-g.counted[name], want)
		}
		g.counted[name] = c.Packets
	}
}

// passes sends a packet and wants it to come out by a wire, from a source.
func (g *guarded) passes(what string, send func([]byte), p packet, by *tap, from netip.Prefix) netip.AddrPort {
	g.t.Helper()
	g.marker++
	p.marker = g.marker
	send(p.bytes())
	got, ok := by.see(g.marker)
	if !ok || !from.Contains(got.Addr()) {
		g.t.Errorf("%s: seen %v from %v, want one from %v", what, ok, got, from)
	}
	g.guards(what, "", 0)
	return got
}

// stopped sends a packet and wants it on no wire, and counted by a guard.
func (g *guarded) stopped(what string, send func([]byte), p packet, guard string) {
	g.t.Helper()
	g.marker++
	p.marker = g.marker
	send(p.bytes())
	for name, x := range map[string]*tap{"link 1": g.aTap, "link 2": g.bTap, "the inside": g.lanTap} {
		if got, ok := x.sees(g.marker); ok {
			g.t.Errorf("%s: seen on %s, from %v", what, name, got)
		}
	}
	g.guards(what, guard, 1)
}

func flowOf(from, to string) packet {
	return packet{from: netip.MustParseAddrPort(from), to: netip.MustParseAddrPort(to)}
}

func (p packet) reset() packet { p.tcp = flagRST; return p }

var (
	pool1   = netip.MustParsePrefix("198.51.100.0/28")
	prefix1 = netip.MustParsePrefix("2001:db8:a::/64")
)

// TestNoTransit holds that nothing goes from one link to another, whatever conntrack calls it.
func TestNoTransit(t *testing.T) { fewAndMany(t, noTransit) }

func noTransit(g *guarded, p nat.Params) {
	g.replace(nat.Ruleset(p))
	for _, c := range []struct{ client, far, stranger string }{
		{"10.20.0.10", "9.9.9.9", "5.5.5.5"}, {"[fd20::10]", "[2a00:9::9]", "[2a00:5::5]"}} {
		g.stopped("a new connection", g.fromA, flowOf(c.stranger+":1000", c.far+":53"), nat.GuardTransit)
		g.stopped("an invalid packet", g.fromA, flowOf(c.stranger+":1001", c.far+":80").reset(), nat.GuardTransit)
		// What a host inside opened by link 2, and is established, as if it came from link 1.
		opened := flowOf(c.client+":2000", c.far+":53")
		outside := netip.MustParsePrefix("198.51.100.16/28")
		if c.client[0] == '[' {
			outside = netip.MustParsePrefix("2001:db8:b::/64")
		}
		seen := g.passes("opened from inside", g.fromLAN, opened, g.bTap, outside)
		g.passes("its reply", g.fromB, packet{from: opened.to, to: seen}, g.lanTap, netip.PrefixFrom(opened.to.Addr(), opened.to.Addr().BitLen()))
		g.stopped("an established connection's packet", g.fromA, opened, nat.GuardTransit)
	}
	untracked := flowOf("192.0.2.2:4000", "9.9.9.9:179")
	untracked.tcp = flagACK
	g.stopped("an untracked packet", g.fromA, untracked, nat.GuardTransit)
}

// TestNothingLeavesUntranslated holds that no packet leaves a link with an inside source, or with one of another path,
// though the guard looks before translation.
func TestNothingLeavesUntranslated(t *testing.T) { fewAndMany(t, nothingLeavesUntranslated) }

func nothingLeavesUntranslated(g *guarded, p nat.Params) {
	// Connections from before the table.
	old4, old6 := flowOf("10.20.0.10:3000", "4.4.4.4:53"), flowOf("[fd20::10]:3000", "[2a00:4::4]:53")
	g.replace(kstate.Ruleset{Chains: []kstate.NftChain{{Name: "tracks", Hook: kstate.Forward, Type: kstate.FilterChain, Rules: []kstate.NftRule{kstate.NewRule(kstate.MatchReply{}, kstate.Count{})}}}})
	any4, any6 := netip.MustParsePrefix("10.20.0.10/32"), netip.MustParsePrefix("fd20::10/128")
	g.passes("before the table", g.fromLAN, old4, g.aTap, any4)
	g.passes("before the table", g.fromLAN, old6, g.aTap, any6)
	unanswered4, unanswered6 := flowOf("10.20.0.10:3010", "4.4.4.4:514"), flowOf("[fd20::10]:3010", "[2a00:4::4]:514")
	g.passes("before the table, without a reply", g.fromLAN, unanswered4, g.aTap, any4)
	g.passes("before the table, without a reply", g.fromLAN, unanswered6, g.aTap, any6)
	g.passes("its reply", g.fromA, packet{from: old4.to, to: old4.from}, g.lanTap, netip.MustParsePrefix("4.4.4.4/32"))
	g.passes("its reply", g.fromA, packet{from: old6.to, to: old6.from}, g.lanTap, netip.MustParsePrefix("2a00:4::4/128"))
	g.replace(nat.Ruleset(p))
	g.stopped("a connection from before the table", g.fromLAN, old4, nat.GuardLeak)
	g.stopped("a connection from before the table", g.fromLAN, old6, nat.GuardLeak)
	g.stopped("one without a reply", g.fromLAN, unanswered4, nat.GuardLeak)
	g.stopped("one without a reply", g.fromLAN, unanswered6, nat.GuardLeak)
	g.stopped("and its next packet", g.fromLAN, unanswered4, nat.GuardLeak)
	g.stopped("an invalid packet", g.fromLAN, flowOf("10.20.0.10:3001", "4.4.4.4:80").reset(), nat.GuardLeak)
	g.stopped("an invalid packet", g.fromLAN, flowOf("[fd20::10]:3001", "[2a00:4::4]:80").reset(), nat.GuardLeak)
	g.stopped("a new connection with another path's address", g.fromLAN, flowOf("198.51.100.17:3002", "4.4.4.4:53"), nat.GuardForeign)
	new4, new6 := flowOf("10.20.0.10:3003", "4.4.4.4:53"), flowOf("[fd20::10]:3003", "[2a00:4::4]:53")
	g.passes("a new connection", g.fromLAN, new4, g.aTap, pool1)
	g.passes("a new connection", g.fromLAN, new6, g.aTap, prefix1)
	g.passes("and its next packet", g.fromLAN, new4, g.aTap, pool1)
	g.passes("and its next packet", g.fromLAN, new6, g.aTap, prefix1)
	asked := flowOf("4.4.4.5:1000", "198.51.100.40:53")
	answer := flowOf("10.20.0.40:53", "4.4.4.5:1000")
	g.passes("a published host is asked", g.fromA, asked, g.lanTap, netip.MustParsePrefix("4.4.4.5/32"))
	g.passes("and answers", g.fromLAN, answer, g.aTap, netip.MustParsePrefix("198.51.100.40/32"))
	// The ways move to link 2, and nobody cuts the connections or restores the marks' ways.
	g.defaults("up2", 1)
	g.stopped("a connection of link 1 by link 2", g.fromLAN, new4, nat.GuardForeign)
	g.stopped("a connection of link 1 by link 2", g.fromLAN, new6, nat.GuardForeign)
	g.stopped("a published host's answer by link 2", g.fromLAN, answer, nat.GuardForeign)
	g.passes("a connection opened after", g.fromLAN, flowOf("10.20.0.10:3004", "4.4.4.4:53"), g.bTap, netip.MustParsePrefix("198.51.100.16/28"))
}

// TestNobodyInsideSpeaksAsTheRouter holds that accept_local, which the settings have on inside interfaces, lets nobody in.
func TestNobodyInsideSpeaksAsTheRouter(t *testing.T) { fewAndMany(t, nobodyInsideSpeaksAsTheRouter) }

func nobodyInsideSpeaksAsTheRouter(g *guarded, p nat.Params) {
	g.replace(nat.Ruleset(p))
	for _, own := range []string{"10.20.0.1", "192.0.2.1", "192.0.2.5", "10.20.255.255"} {
		g.stopped("a new connection from "+own, g.fromLAN, flowOf(own+":4000", "4.4.4.4:53"), nat.GuardMartian)
		g.stopped("an invalid packet from "+own, g.fromLAN, flowOf(own+":4001", "4.4.4.4:80").reset(), nat.GuardMartian)
		g.stopped("one to the router, from "+own, g.fromLAN, flowOf(own+":4002", "10.20.0.1:53"), nat.GuardMartian)
	}
	// What the router itself has opened, and is established.
	mine := g.routerSpeaks("192.0.2.1:4003", "4.4.4.4:53", g.fromA)
	g.stopped("the router's own established connection", g.fromLAN, mine, nat.GuardMartian)
	g.passes("a host", g.fromLAN, flowOf("10.20.0.10:4004", "4.4.4.4:53"), g.aTap, pool1)
	g.passes("a host's IPv6", g.fromLAN, flowOf("[fd20::10]:4004", "[2a00:4::4]:53"), g.aTap, prefix1)
	g.hears(67, func() { g.fromLAN(flowOf("0.0.0.0:68", "255.255.255.255:67").bytes()) })
	g.guards("a host without an address", "", 0)
}
