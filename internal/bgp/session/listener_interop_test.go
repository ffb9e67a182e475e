package session

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/kernel/netnstest"
	"bothways/internal/route"
)

// mirrored is the configuration of the other end.
func mirrored(c Config) Config {
	c.Local, c.Neighbor = c.Neighbor, c.Local
	c.LocalAS, c.NeighborAS = c.NeighborAS, c.LocalAS
	c.RouterID = netip.MustParseAddr("198.51.100.1")
	c.Name = "neighbor"
	return c
}

func TestListenerMD5AndTTLBetweenOurselves(t *testing.T) {
	for _, base := range []Config{our4Config(), our6Config()} {
		for _, passive := range []bool{false, true} { // so that the options are proved on both kinds of socket
			t.Run(base.Name, func(t *testing.T) {
				w := newWorld(t, "ip", "iproute2")
				c := base
				c.Password, c.TTLSecurity, c.Passive = []byte("secret"), true, passive
				o := mirrored(c)
				o.Passive = !passive
				a, b := w.startIn(w.ours, c), w.startIn(w.their, o)
				a.up(t)
				b.up(t)
			})
		}
	}
}

func TestListenerLinkLocal(t *testing.T) {
	w := newWorld(t, "ip", "iproute2")
	w.run("ip", "-n", w.ours, "addr", "add", "fe80::1/64", "dev", "wire", "nodad")
	w.run("ip", "-n", w.their, "addr", "add", "fe80::2/64", "dev", "wire", "nodad")
	c := our6Config()
	c.Local, c.Neighbor = netip.MustParseAddr("fe80::1%wire"), netip.MustParseAddr("fe80::2%wire")
	c.NextHop = map[route.Family]netip.Addr{route.IPv6: netip.MustParseAddr(our6)}
	c.Password = []byte("secret")
	o := mirrored(c)
	c.Passive = true
	a, b := w.startIn(w.ours, c), w.startIn(w.their, o)
	a.SetAnnouncements(ourRoutes())
	a.up(t)
	b.hears(t, "+2001:db8:a::/48 path [4200000010] via 2001:db8::1")
}

func TestListenerWaitsForAnAddress(t *testing.T) {
	w := newWorld(t, "ip", "iproute2")
	w.run("ip", "-n", w.ours, "addr", "del", our4+"/30", "dev", "wire")
	c := our4Config()
	o := mirrored(c)
	c.Passive = true
	a, b := w.startIn(w.ours, c), w.startIn(w.their, o)
	ll := our6Config() // an interface that is not there does not disturb the others
	ll.Local, ll.Neighbor = netip.MustParseAddr("fe80::1%later"), netip.MustParseAddr("fe80::2%later")
	a.listener.Add(New(ll, a.recorder, nil))
	eventually(t, "attempts fail", 90*time.Second, func() (bool, string) { return b.Status().LastError != "", "" })
	w.run("ip", "-n", w.ours, "addr", "add", our4+"/30", "dev", "wire")
	b.Retry()
	a.up(t)
}

func TestListenerRefusesStrangers(t *testing.T) {
	w := newWorld(t, "ip", "iproute2")
	w.run("ip", "-n", w.their, "addr", "add", "192.0.2.6/24", "dev", "wire")
	w.run("ip", "-n", w.ours, "addr", "add", "192.0.2.1/24", "dev", "wire")
	c := our4Config()
	c.Passive = true
	a := w.startIn(w.ours, c)
	// dial says whether the connection from an address is closed at once, or answered with an OPEN.
	dial := func(from string) string {
		var got string
		netnstest.Within(w.their, func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 2 * time.Second}
			nc, err := d.DialContext(context.Background(), "tcp4", our4+":179")
			if err != nil {
				got = err.Error()
				return
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(2 * time.Second))
			b := make([]byte, 100)
			n, err := nc.Read(b)
			switch {
			case n > 18 && b[18] == 1:
				got = "open"
			case err == io.EOF || err != nil && !os.IsTimeout(err):
				got = "closed"
			default:
				got = "silence"
			}
		})
		return got
	}
	eventually(t, "the neighbor gets an open", 90*time.Second, func() (bool, string) { got := dial(their4); return got == "open", got })
	if got := dial("192.0.2.6"); got != "closed" {
		t.Errorf("a stranger gets: %s", got)
	}
	a.listener.Remove(a.Session)
	eventually(t, "nobody listens", 90*time.Second, func() (bool, string) {
		got := dial(their4)
		return strings.Contains(got, "refused"), got
	})
	a.listener.Add(a.Session)
	eventually(t, "the neighbor gets an open again", 90*time.Second, func() (bool, string) { got := dial(their4); return got == "open", got })
	if a.Status().Phase == fsm.Established {
		t.Error(a.Status())
	}
}
