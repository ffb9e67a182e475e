package nft

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/kernel/netnstest"
	"bothways/internal/kstate"
	"bothways/internal/route"
)

// listen opens a UDP socket in the namespace of a process.
func listen(t *testing.T, pid, address string) net.PacketConn {
	t.Helper()
	type result struct {
		conn net.PacketConn
		err  error
	}
	got := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		f, err := os.Open("/proc/" + pid + "/ns/net")
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if err != nil {
			got <- result{nil, err}
			return
		}
		conn, err := net.ListenPacket("udp", address)
		got <- result{conn, err}
	}()
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.conn.Close() })
	r.conn.SetDeadline(time.Now().Add(10 * time.Second))
	return r.conn
}

// exchange sends a packet and its reply, and returns who the receiver saw as the sender.
func exchange(t *testing.T, from net.PacketConn, to string, server net.PacketConn) netip.Addr {
	t.Helper()
	dst := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))
	buf := make([]byte, 100)
	var sender net.Addr
	var err error
	for range 20 { // the first packets may wait for neighbors in vain
		if _, err = from.WriteTo([]byte("ask"), dst); err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		server.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, sender, err = server.ReadFrom(buf); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("to %s: %v", to, err)
	}
	if _, err := server.WriteTo([]byte("answer"), sender); err != nil {
		t.Fatal(err)
	}
	from.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, back, err := from.ReadFrom(buf); err != nil || back.String() != dst.String() {
		t.Fatalf("reply from %v, want %v: %v", back, dst, err)
	}
	return sender.(*net.UDPAddr).AddrPort().Addr()
}

// The test is the router between a client and a server, which does not know the inside's addresses.
func TestTranslation(t *testing.T) {
	h := open(t)
	client, server := netnstest.Other(t), netnstest.Other(t)
	in := func(pid, line string) { cmd(t, "nsenter -t "+pid+" -n "+line) }
	for dev, pid := range map[string]string{"lan0": client, "er0": server} {
		cmd(t, "ip link add "+dev+" type veth peer name eth0 netns "+pid)
		cmd(t, "ip link set "+dev+" up")
		in(pid, "ip link set eth0 up")
		in(pid, "ip link set lo up")
	}
	cmd(t, "ip addr add 10.20.0.1/16 dev lan0")
	cmd(t, "ip addr add 192.0.2.1/30 dev er0")
	cmd(t, "ip addr add fd20::1/64 dev lan0 nodad")
	cmd(t, "ip addr add 2001:db8:2::1/64 dev er0 nodad")
	for i := range 8 {
		in(client, fmt.Sprintf("ip addr add 10.20.0.%d/16 dev eth0", 10+i))
	}
	in(client, "ip addr add fd20::a/64 dev eth0 nodad")
	in(client, "ip route add default via 10.20.0.1")
	in(client, "ip -6 route add default via fd20::1")
	in(server, "ip addr add 192.0.2.2/30 dev eth0")
	in(server, "ip addr add 2001:db8:2::2/64 dev eth0 nodad")
	in(server, "ip route add 198.51.100.64/28 via 192.0.2.1")
	in(server, "ip -6 route add 2001:db8:1::/48 via 2001:db8:2::1")
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+key, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	out := kstate.MatchInterface{Direction: kstate.Out, Names: []string{"er0"}}
	pool := netip.MustParsePrefix("198.51.100.64/28")
	r := kstate.Ruleset{
		Counters: []string{"leaving"},
		Sets:     []kstate.NftSet{{Name: "seen", Type: kstate.IPv4Addr, Dynamic: true, Timeout: time.Hour, Size: 100}},
		Chains: []kstate.NftChain{
			{Name: "through", Hook: kstate.Forward, Type: kstate.FilterChain, Rules: []kstate.NftRule{
				kstate.NewRule(out, kstate.MatchReply{Original: true}, kstate.Count{Name: "leaving"}, kstate.SetMark{Mask: 0xff0000, Value: 0x10000}),
				kstate.NewRule(out, kstate.AddToSet{Set: "seen", Family: route.IPv4}),
			}},
			{Name: "published", Hook: kstate.Prerouting, Type: kstate.NATChain, Priority: -100, Rules: []kstate.NftRule{
				kstate.NewRule(kstate.MatchAddress{End: kstate.Destination, Prefixes: prefixes("198.51.100.70/32")}, kstate.MatchPort{Protocol: kstate.UDP, End: kstate.Destination, Ports: []uint16{53}}, kstate.DNAT{To: addr("10.20.0.10"), Port: 5353}),
				kstate.NewRule(kstate.MatchAddress{End: kstate.Destination, Prefixes: prefixes("2001:db8:1::/48")}, kstate.DNATPrefix{To: netip.MustParsePrefix("fd20::/48")}),
			}},
			{Name: "pools", Hook: kstate.Postrouting, Type: kstate.NATChain, Priority: 100, Rules: []kstate.NftRule{
				kstate.NewRule(kstate.MatchFamily{Family: route.IPv4}, out, kstate.SNAT{From: pool.Addr(), To: kstate.LastAddr(pool), Persistent: true}),
				kstate.NewRule(out, kstate.MatchAddress{Prefixes: prefixes("fd20::/48")}, kstate.SNATPrefix{To: netip.MustParsePrefix("2001:db8:1::/48")}),
			}},
		},
	}
	if err := h.Replace(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	public := map[netip.Addr]bool{}
	for i := range 8 {
		var first netip.Addr
		for j := range 4 {
			a := listen(t, client, fmt.Sprintf("10.20.0.%d:0", 10+i))
			s := listen(t, server, fmt.Sprintf("192.0.2.2:%d", 1000+10*i+j))
			seen := exchange(t, a, s.LocalAddr().String(), s)
			if !pool.Contains(seen) || first.IsValid() && seen != first {
				t.Errorf("host %d seen as %s, before as %s", i, seen, first)
			}
			first = seen
		}
		public[first] = true
	}
	if len(public) < 2 {
		t.Errorf("all hosts share %v", public)
	}
	n, err := h.Counters(context.Background())
	if err != nil || n["leaving"].Packets < 32 || n["leaving"].Bytes < 32*31 {
		t.Errorf("counters %v, %v", n, err)
	}
	// Published by port, and IPv6 in both directions.
	if got := exchange(t, listen(t, server, "192.0.2.2:0"), "198.51.100.70:53", listen(t, client, "10.20.0.10:5353")); got != addr("192.0.2.2") {
		t.Errorf("published host sees %s", got)
	}
	if got := exchange(t, listen(t, client, "[fd20::a]:0"), "[2001:db8:2::2]:2000", listen(t, server, "[2001:db8:2::2]:2000")); got != addr("2001:db8:1::a") {
		t.Errorf("IPv6 seen as %s", got)
	}
	if got := exchange(t, listen(t, server, "[2001:db8:2::2]:0"), "[2001:db8:1::a]:3000", listen(t, client, "[fd20::a]:3000")); got != addr("2001:db8:2::2") {
		t.Errorf("inside host sees %s", got)
	}
	if altered, what, err := h.Altered(context.Background()); altered || err != nil {
		t.Errorf("packets altered the table: %s %v", what, err)
	}
}
