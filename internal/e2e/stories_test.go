package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// linkOf waits until a link, in IPv4, is as wanted.
func linkOf(t *testing.T, w *lab.World, name string, want func(v1.Link) error) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		var links []v1.Link
		if err := w.Show(ctx, "links", &links); err != nil {
			return err
		}
		for _, l := range links {
			if l.Name == name && l.Family == "ipv4" {
				return want(l)
			}
		}
		return fmt.Errorf("no link %s", name)
	})
}

// told waits for an event.
func told(t *testing.T, w *lab.World, kind, subject, text string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		var all []v1.Event
		if err := w.Show(ctx, "events", &all); err != nil {
			return err
		}
		for _, e := range all {
			if e.Kind == kind && e.Subject == subject && strings.Contains(e.Text, text) {
				return nil
			}
		}
		return fmt.Errorf("no event %s of %s says %q: %+v", kind, subject, text, all)
	})
}

// tracked counts the connections in the edge's table to a port.
func tracked(t *testing.T, w *lab.World, port int) int {
	t.Helper()
	out, err := inEdge(w, "conntrack", "-L", "-f", "ipv4", "-p", "tcp", "--dport", strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(out, fmt.Sprintf("dport=%d ", port))
}

// TestFailoverWithNowhereToGo takes both ISPs away from connections that only they can carry. Nothing is killed: when a way
// comes back the connections go on. Meanwhile they are reported.
func TestFailoverWithNowhereToGo(t *testing.T) {
	t.Parallel()
	need(t, "conntrack", "conntrack")
	w := raise(t, nil)
	edge(t, w)
	const n = 200
	c := crowd(t, w, "client", []netip.Addr{address(t, w, "registry", false)}, n)
	openedBy(t, c, "isp-a")
	// One after the other: connections move to a line that lives as far as is known.
	fail(t, w, false, "isp-b/main")
	linkOf(t, w, "isp-b/main", func(l v1.Link) error {
		if l.State != "down" {
			return fmt.Errorf("link is %s", l.State)
		}
		return nil
	})
	fail(t, w, false, "isp-a/main")
	linkOf(t, w, "isp-a/main", func(l v1.Link) error {
		if l.State != "down" || l.Stranded != n {
			return fmt.Errorf("link is %s with %d stranded connections, want down with %d", l.State, l.Stranded, n)
		}
		return nil
	})
	told(t, w, "connections", "isp-a/main", "200 connections have the addresses of this dead link and nowhere else to go")
	if k := tracked(t, w, 7); k != n {
		t.Errorf("%d of %d connections are in the table", k, n)
	}
	for _, e := range events(t, w) {
		if e.Kind == "flows" {
			t.Errorf("there is nowhere to go, and connections were cut: %+v", e)
		}
	}
	if err := w.Heal(within(t), "isp-a/main"); err != nil {
		t.Fatal(err)
	}
	via(t, w, "client", "registry", "isp-a")
	whole(t, "after a way came back", c, 30*time.Second)
}

// TestStrandedOnAMeteredLine has the circuit come back to a site whose connections went to ISP B meanwhile, a line that is
// paid for by what passes. They stay, as they are meant to; the link, the count and the way of new ones are reported, and
// that it is over when they have ended.
func TestStrandedOnAMeteredLine(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edge(t, w)
	fail(t, w, false, "expressroute/primary", "expressroute/secondary", "isp-a/main")
	via(t, w, "client", "storage", "isp-b")
	const n = 150
	c := crowd(t, w, "client", []netip.Addr{address(t, w, "storage", false)}, n)
	openedBy(t, c, "isp-b")
	if err := w.HealAll(within(t)); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	linkOf(t, w, "isp-b/main", func(l v1.Link) error {
		if l.Staying < n {
			return fmt.Errorf("%d connections are reported to stay, there are %d", l.Staying, n)
		}
		return nil
	})
	told(t, w, "connections", "isp-b/main", "connections stay here, new ones to the same addresses go by expressroute/primary, expressroute/secondary")
	whole(t, "after the failback", c, 5*time.Second)
	if out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "show", "links"); err != nil || !strings.Contains(out, " stay") {
		t.Errorf("show links does not tell of them (%v):\n%s", err, out)
	}
}

// arrivals has a router count the packets from the site that match an expression of nft, from now on.
func arrivals(t *testing.T, w *lab.World, router, match string) func() int {
	t.Helper()
	name := fmt.Sprintf("t%d", time.Now().UnixNano())
	inRouter(t, w, router, "nft", fmt.Sprintf(`add table inet %[1]s; add chain inet %[1]s c { type filter hook prerouting priority -400; }; add rule inet %[1]s c iifname "site" %[2]s counter`, name, match))
	return func() int {
		t.Helper()
		var out []byte
		err := w.Exec(router, func() (err error) {
			out, err = exec.Command("nft", "list", "chain", "inet", name, "c").CombinedOutput()
			return err
		})
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_, rest, _ := strings.Cut(string(out), "counter packets ")
		n, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return n
	}
}

// TestProbesNeverLeaveByAnotherWay probes ISP A's line to an address that the circuit, and ISP B, reach too: while the line
// lives, while it is dead, and while routing prefers another for the target. No other router ever sees a probe.
func TestProbesNeverLeaveByAnotherWay(t *testing.T) {
	t.Parallel()
	need(t, "nft", "nftables")
	w := raise(t, nil)
	target := address(t, w, "storage", false)
	edgeWith(t, w, func(c string) string {
		track := fmt.Sprintf("    track: {probes: [{icmp: %s}], every: 50ms, down-after: 3, up-after: 3, up-delay: 1s}\n", target)
		return strings.Replace(c, "  isp-a:\n", "  isp-a:\n"+track, 1)
	})
	counts := map[string]func() int{}
	for _, router := range []string{"circuit/primary", "circuit/secondary", "isp-a", "isp-b"} {
		counts[router] = arrivals(t, w, router, fmt.Sprintf("icmp type echo-request ip daddr %s", target))
	}
	settled(t, w)
	trackIs(t, w, "isp-a/main", "probes", "up")
	// Routing prefers the circuit for the target all the while.
	if a, err := w.Ask(within(t), "client", target); err != nil || a.Via == "isp-a" {
		t.Fatalf("the target is reached by %q (%v), so nothing is shown", a.Via, err)
	}
	count := func(when string) {
		t.Helper()
		eventually(t, func(context.Context) error {
			if n := counts["isp-a"](); n < 20 {
				return fmt.Errorf("%d probes on their own link", n)
			}
			return nil
		})
		for router, n := range counts {
			if router != "isp-a" && n() != 0 {
				t.Errorf("%s: %s saw %d probes of isp-a/main", when, router, n())
			}
		}
	}
	count("all lives")
	for _, silent := range []bool{true, false} {
		fail(t, w, silent, "isp-a/main")
		trackIs(t, w, "isp-a/main", "probes", "down")
		// Twenty rounds of probes while the link is dead: the circuit's other traffic tells that time passes.
		s := steadyStream(t, w, "client", "storage", 1000)
		waitReturned(t, s, 1000)
		s.Stop()
		count(map[bool]string{true: "silent", false: "no carrier"}[silent])
		if err := w.HealAll(within(t)); err != nil {
			t.Fatal(err)
		}
		settled(t, w)
		trackIs(t, w, "isp-a/main", "probes", "up")
	}
	count("healed")
}

// TestReplyNeverTakesTheWrongLine asks a service of the edge itself, and a published host, by each ISP in turn, while routing
// prefers another way to the asker: each reply leaves by the router that the request came by.
func TestReplyNeverTakesTheWrongLine(t *testing.T) {
	t.Parallel()
	need(t, "nft", "nftables")
	w := raise(t, nil)
	edgeWith(t, w, func(c string) string {
		c = strings.Replace(c, "  isp-a:\n", "  isp-a:\n    publish: {203.0.113.70: 10.20.1.10}\n", 1)
		return strings.Replace(c, "  isp-b:\n", "  isp-b:\n    publish: {\"198.18.2.2:8080/tcp\": \"10.20.1.10:80\"}\n", 1)
	})
	settled(t, w)
	serveLines(t, w, lab.Edge, "0.0.0.0:2222")
	serveLines(t, w, "client", "10.20.1.10:80")
	storage, registry := address(t, w, "storage", false), address(t, w, "registry", false)
	for _, row := range []struct {
		what, space string
		from        netip.Addr
		to, router  string
	}{
		{"the edge by ISP A", lab.Internet, registry, "198.18.1.2:2222", "isp-a"},
		{"the edge by ISP B, though ISP A is preferred", lab.Internet, registry, "198.18.2.2:2222", "isp-b"},
		{"the edge by ISP A, from where the circuit is preferred", lab.Cloud, storage, "198.18.1.2:2222", "isp-a"},
		{"the edge by ISP B, from where the circuit is preferred", lab.Cloud, storage, "198.18.2.2:2222", "isp-b"},
		{"the published host by ISP A, from where the circuit is preferred", lab.Cloud, storage, "203.0.113.70:80", "isp-a"},
		{"the published host by ISP B, though ISP A is preferred", lab.Internet, registry, "198.18.2.2:8080", "isp-b"},
	} {
		to := netip.MustParseAddrPort(row.to)
		match := fmt.Sprintf("ip daddr %s tcp sport %d", row.from, to.Port())
		counts := map[string]func() int{}
		for _, router := range []string{"circuit/primary", "circuit/secondary", "isp-a", "isp-b"} {
			counts[router] = arrivals(t, w, router, match)
		}
		eventually(t, func(ctx context.Context) error {
			got, err := askFrom(ctx, w, row.space, row.from, row.to)
			if err != nil || got != row.from.String() {
				return fmt.Errorf("%s: seen as %q, want %s: %w", row.what, got, row.from, err)
			}
			return nil
		})
		for router, n := range counts {
			if k := n(); (k > 0) != (router == row.router) {
				t.Errorf("%s: %d packets of the reply passed %s, all have to pass %s", row.what, k, router, row.router)
			}
		}
	}
	for _, router := range []string{"circuit/primary", "circuit/secondary", "isp-a", "isp-b"} {
		if n, err := w.Refused(router); err != nil || n != 0 {
			t.Errorf("%s refused %d packets for their source (%v)", router, n, err)
		}
	}
	if a := asymmetry(t, w); len(a.Pairs) != 0 {
		t.Errorf("replies by other paths: %+v", a.Pairs)
	}
}

// serveLines tells every client in a namespace the address that it is seen by.
func serveLines(t *testing.T, w *lab.World, space, listen string) {
	t.Helper()
	var ln net.Listener
	err := w.Exec(space, func() (err error) {
		ln, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp4", listen)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, c.RemoteAddr())
			c.Close()
		}
	}()
}
