package probe

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"bothways/internal/kernel/netnstest"
)

// The pool is no address of this machine: the ruleset translates to it. Replies to the first half of it come back by the
// wire that asked, those to the second half by the other one, those to the last address never.
const (
	poolRight, tokenRight = "198.51.100.64", 0xf001
	poolWrong, tokenWrong = "198.51.100.72", 0xf002
	poolNever, tokenNever = "198.51.100.79", 0xf003
	pool6, token6         = "2001:db8:100::1", 0xf004
)

// provingWorld has a far side that knows two ways back.
func provingWorld(t *testing.T) *world {
	w := newWorld(t)
	for _, ns := range []string{w.ours, w.far, w.wrong} {
		w.run("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0", "net.ipv4.ip_forward=1")
	}
	w.ip(w.wrong, "addr del "+alive+"/32 dev lo") // it passes on what comes from there
	w.ip(w.far, "link add cross type veth peer name cross netns "+w.wrong)
	w.ip(w.far, "addr add 203.0.113.5/30 dev cross")
	w.ip(w.wrong, "addr add 203.0.113.6/30 dev cross")
	for _, ns := range []string{w.far, w.wrong} {
		w.ip(ns, "link set cross up")
	}
	w.ip(w.far, "route add 198.51.100.64/29 via "+ourAddr)
	w.ip(w.far, "route add 198.51.100.72/29 via 203.0.113.6")
	w.ip(w.far, "route add blackhole "+poolNever)
	w.ip(w.far, "-6 route add 2001:db8:100::/48 via "+ourAddr6)
	w.ip(w.wrong, "route add 198.51.100.64/28 via 203.0.113.1")
	// With the neighbor known nothing waits until the link-local addresses are found to be nobody else's.
	w.run("ip", "netns", "exec", w.ours, "ping", "-6", "-c", "1", "-W", "5", "2001:db8::2")
	w.nft(w.ours, "add table inet t; add chain inet t s { type nat hook postrouting priority 100; }")
	for _, r := range [][3]string{{poolRight, "61441", "ip"}, {poolWrong, "61442", "ip"}, {poolNever, "61443", "ip"}, {pool6, "61444", "ip6"}} {
		icmp := map[string]string{"ip": "icmp", "ip6": "icmpv6"}[r[2]]
		w.nft(w.ours, "add rule inet t s meta mark 3 "+icmp+" type echo-request "+icmp+" id "+r[1]+" snat "+r[2]+" to "+r[0])
		w.nft(w.ours, "add rule inet t s meta mark 3 meta nfproto "+map[string]string{"ip": "ipv4", "ip6": "ipv6"}[r[2]]+" tcp sport "+r[1]+" snat "+r[2]+" to "+r[0])
	}
	return w
}

func TestProofs(t *testing.T) {
	w := provingWorld(t)
	seen := make(chan netip.AddrPort, 100)
	l := w.listen(":443")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			seen <- c.RemoteAddr().(*net.TCPAddr).AddrPort()
			c.Close()
		}
	}()
	w.nft(w.ours, "add table inet d; add counter inet d astray; add chain inet d o { type filter hook postrouting priority 200; }")
	w.nft(w.ours, "add rule inet d o oifname wrong tcp flags == syn counter name astray; add rule inet d o oifname wrong icmp type echo-request counter name astray")
	results := make(chan ProofResult, 16)
	p := NewProver(func(r ProofResult) { results <- r })
	p.within = func(f func()) { netnstest.Within(w.ours, f) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	var right, wrong int
	netnstest.Within(w.ours, func() { right, _ = interfaceOf("right"); wrong, _ = interfaceOf("wrong") })
	rows := []struct {
		name, address string
		token         uint16
		target        Target
		index         int
		why           string
	}{
		{"echo by the same wire", poolRight, tokenRight, icmpTo(alive), right, ""},
		{"echo by the other wire", poolWrong, tokenWrong, icmpTo(alive), wrong, ""},
		{"no echo", poolNever, tokenNever, icmpTo(alive), 0, "no reply in 300ms"},
		{"nobody there", poolRight, tokenRight, icmpTo(silent), 0, "no reply in 300ms"},
		{"connection by the same wire", poolRight, tokenRight, tcpTo(alive, 443), right, ""},
		{"connection by the other wire", poolWrong, tokenWrong, tcpTo(alive, 443), wrong, ""},
		{"no connection", poolNever, tokenNever, tcpTo(alive, 443), 0, "no reply in 300ms"},
		{"a refusal is a reply", poolRight, tokenRight, tcpTo(alive, 444), right, ""},
		{"a refusal by the other wire too", poolWrong, tokenWrong, tcpTo(alive, 444), wrong, ""},
		{"the same again", poolRight, tokenRight, tcpTo(alive, 443), right, ""},
		{"echo, IPv6", pool6, token6, icmpTo(alive6), right, ""},
		{"connection, IPv6", pool6, token6, tcpTo(alive6, 443), right, ""},
		{"no datagrams", poolRight, tokenRight, dnsTo(alive), 0, "no proof by dns"},
		{"another family", pool6, token6, icmpTo(alive), 0, "source 2001:db8::1 for icmp 198.18.53.1"},
	}
	for _, row := range rows {
		q := Proof{Link: "isp-a/main", Interface: "right", Source: addr(ourAddr), Mark: mark, Address: addr(row.address), Token: row.token, Target: row.target, Timeout: 300 * ms}
		if q.Address.Is6() {
			q.Source = addr(ourAddr6)
		}
		p.Prove(q)
		r := <-results
		if r.Index != row.index || r.Why != row.why || r.Proof != q || row.index != 0 && (r.RTT <= 0 || r.RTT > 300*ms) {
			t.Errorf("%s: by interface %d after %v, %q; want %d, %q", row.name, r.Index, r.RTT, r.Why, row.index, row.why)
		}
	}
	// The wires here are so short that the answer by the other one may come before this machine has made itself ready for
	// it there; the ear hears it all the same.
	servers := map[string]bool{}
	for !servers[poolRight] || !servers[pool6] {
		select {
		case got := <-seen:
			servers[got.Addr().Unmap().String()] = true
		case <-time.After(10 * time.Second):
			t.Fatalf("the server saw connections from %v only", servers)
		}
	}
	if servers[ourAddr] || servers[ourAddr6] {
		t.Errorf("a proof was not translated: the server saw %v", servers)
	}
	if got := w.nft(w.ours, "list", "counter", "inet", "d", "astray"); !strings.Contains(got, "packets 0") {
		t.Errorf("proofs left by the wrong wire: %s", got)
	}
}

func TestProofsUnderWayAreBounded(t *testing.T) {
	results := make(chan ProofResult, 2*proofsQueue)
	p := NewProver(func(r ProofResult) { results <- r })
	for range proofsQueue + 1 {
		p.Prove(Proof{})
	}
	if r := <-results; !strings.Contains(r.Why, "too many") {
		t.Errorf("%+v", r)
	}
}

// TestAnswersOnly runs the filter on headers as the raw sockets of both families give them.
func TestAnswersOnly(t *testing.T) {
	header := func(port uint16, flags byte) []byte {
		b := make([]byte, 20)
		b[2], b[3], b[13] = byte(port>>8), byte(port), flags
		return b
	}
	rows := []struct {
		name  string
		port  uint16
		flags byte
		want  bool
	}{
		{"syn-ack", 0xf001, flagSYN | flagACK, true},
		{"reset", 0xffff, flagRST, true},
		{"data", 0xf001, flagACK, false},
		{"another port", 179, flagSYN | flagACK, false},
		{"just below", 0xefff, flagRST, false},
	}
	for _, v4 := range []bool{true, false} {
		vm, err := bpf.NewVM(answersOnly(v4))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			b := header(row.port, row.flags)
			if v4 {
				ip := make([]byte, 24) // with an option
				ip[0] = 0x46
				b = append(ip, b...)
			}
			if n, err := vm.Run(b); err != nil || n > 0 != row.want {
				t.Errorf("%s, IPv4 %v: %d %v, want %v", row.name, v4, n, err, row.want)
			}
		}
	}
}
