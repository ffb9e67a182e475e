package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
	"bothways/internal/lab/netns"
)

// ispWithBFD is the default world with BFD on ISP A's link.
func ispWithBFD(d *worldOf) {
	d.Router("isp-a").Edge = map[string]string{"bfd": "{interval: 50ms, multiplier: 3}"}
}

// TestNeighborsAreNotTracked holds that the sessions with neighbors are no connections, so that they can be neither one-way
// nor without room.
func TestNeighborsAreNotTracked(t *testing.T) {
	t.Parallel()
	need(t, "bird", "bird2")
	need(t, "conntrack", "conntrack")
	w := raise(t, ispWithBFD)
	birdSpeaksBFD(t, w, 50*time.Millisecond, 3)
	edge(t, w)
	trackIs(t, w, "isp-a/main", "bfd", "up")
	// What was underway while the rules went in may have been seen without them.
	if _, err := inEdge(w, "conntrack", "-F"); err != nil {
		t.Fatal(err)
	}
	fail(t, w, false, "session:isp-a/main", "session:expressroute/primary")
	if err := w.HealAll(within(t)); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	// Something that is tracked, so that an empty table would tell.
	if _, err := w.Ask(within(t), "client", address(t, w, "storage", false)); err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, family := range []string{"ipv4", "ipv6"} {
		out, err := inEdge(w, "conntrack", "-L", "-f", family)
		if err != nil {
			t.Fatal(err)
		}
		all += out
	}
	if !strings.Contains(all, "dport=80 ") {
		t.Fatalf("the request is not in the table, so nothing is shown:\n%s", all)
	}
	for _, line := range strings.Split(all, "\n") {
		if strings.Contains(line, "dport=3784 ") || strings.Contains(line, "port=179 ") {
			t.Errorf("a neighbor's session is tracked: %s", line)
		}
	}
	if a := asymmetry(t, w); len(a.OneWay) != 0 {
		t.Errorf("judged one-way: %+v", a.OneWay)
	}
}

// fillTable fills the edge's connection table with established connections of others until the kernel takes no more, and
// says how many fitted.
func fillTable(t *testing.T, w *lab.World) int {
	t.Helper()
	n := 0
	err := w.Exec(lab.Edge, func() error {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
		if err != nil {
			return err
		}
		limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return err
		}
		n, err = netns.Track(limit+1, func(i int) netns.Tracked {
			from := netip.AddrFrom4([4]byte{100, 100 + byte(i>>16), byte(i >> 8), byte(i)})
			return netns.Tracked{Source: netip.AddrPortFrom(from, 1000), Destination: netip.MustParseAddrPort("192.0.2.200:443")}
		})
		if err == nil && n > limit {
			err = fmt.Errorf("the table took %d connections, more than its limit of %d", n, limit)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFullTableTakesNoSessionDown fills the table: no new connection gets through, and BGP and BFD neither notice nor fail
// to come up again.
func TestFullTableTakesNoSessionDown(t *testing.T) {
	t.Parallel()
	need(t, "bird", "bird2")
	w := raise(t, ispWithBFD)
	birdSpeaksBFD(t, w, 50*time.Millisecond, 3)
	edge(t, w)
	trackIs(t, w, "isp-a/main", "bfd", "up")
	n := fillTable(t, w)
	t.Logf("%d connections fill the table", n)
	event(t, w, "alarm", "the table of connections is full: ")
	storage := address(t, w, "storage", false)
	one, cancel := context.WithTimeout(within(t), time.Second)
	defer cancel()
	if a, err := w.AskUDP(one, "client", storage); err == nil {
		t.Fatalf("the table is full, and a new connection gets through: %+v", a)
	}
	// Both sessions have to come up again without a place in the table.
	fail(t, w, false, "session:isp-a/main", "isp-a/main")
	trackIs(t, w, "isp-a/main", "bfd", "down")
	if err := w.HealAll(within(t)); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	trackIs(t, w, "isp-a/main", "bfd", "up")
	if a, err := w.AskUDP(within(t), "client", storage); err == nil {
		t.Errorf("the table was no longer full, so nothing is shown: %+v", a)
	}
	for _, e := range events(t, w) {
		if e.Kind == "session" && strings.Contains(e.Text, "down") && !strings.HasPrefix(e.Subject, "isp-a/main") {
			t.Errorf("a session went down beside the one that was made to: %+v", e)
		}
	}
	var links []v1.Link
	if err := w.Show(within(t), "links", &links); err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.State != "up" {
			t.Errorf("link %s is %s: %s", l.Name, l.State, l.Reachable)
		}
	}
}

// TestPoolNearItsEnd gives one address of ISP A's pool almost all the connections that it can have towards one service: both
// alarms are raised, and which address, towards whom.
func TestPoolNearItsEnd(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edge(t, w)
	number := 0
	var links []v1.Link
	if err := w.Show(within(t), "links", &links); err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Name == "isp-a/main" {
			number = l.Number
		}
	}
	pool, service := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddrPort("193.0.11.51:443")
	const n = 60000
	err := w.Exec(lab.Edge, func() error {
		_, err := netns.Track(n, func(i int) netns.Tracked {
			port := uint16(1024 + i)
			return netns.Tracked{Source: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 20, byte(i >> 14), 77}), port), Destination: service,
				Translated: netip.AddrPortFrom(pool, port), Mark: uint32(number)}
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	event(t, w, "alarm", "203.0.113.7 of the pool is nearly full by all its connections: 60000 of 64512 (tcp)")
	event(t, w, "alarm", "203.0.113.7 of the pool is nearly full by its ports towards 193.0.11.51:443: 60000 of 64512 (tcp)")
	var shown v1.Translation
	if err := w.Show(within(t), "nat", &shown); err != nil {
		t.Fatal(err)
	}
	if len(shown.Use) != 1 || shown.Use[0].Link != "isp-a/main" || shown.Use[0].Busiest != n {
		t.Errorf("show nat: %+v", shown.Use)
	}
}
