package rtnl

import (
	"net/netip"
	"testing"
	"time"

	"bothways/internal/kernel/netnstest"
	"bothways/internal/kstate"
)

func TestProbeNeighbor(t *testing.T) {
	h := open(t)
	pid := netnstest.Other(t)
	ip(t, "link add br0 type bridge")
	ip(t, "link add port0 type veth peer name far0")
	ip(t, "link add up0 type veth peer name port1")
	for _, dev := range []string{"port0", "port1"} {
		ip(t, "link set "+dev+" master br0 up")
	}
	ip(t, "link set br0 up")
	ip(t, "link set up0 up")
	ip(t, "addr add 192.0.2.1/30 dev up0")
	ip(t, "addr add 2001:db8::1/64 dev up0 nodad")
	ip(t, "link set far0 netns "+pid)
	in := func(args ...string) { netnstest.Run(t, append([]string{"nsenter", "-t", pid, "-n"}, args...)...) }
	in("ip", "addr", "add", "192.0.2.2/30", "dev", "far0")
	in("ip", "addr", "add", "2001:db8::2/64", "dev", "far0", "nodad")
	in("ip", "link", "set", "far0", "up")
	dev := index(t, "up0")
	for _, family := range []string{"ipv4", "ipv6"} {
		mustSysctl(t, h, "net."+family+".neigh.up0.retrans_time_ms", "100")
	}
	neighbors := []netip.Addr{addr("192.0.2.2"), addr("2001:db8::2")}
	reach := func(a netip.Addr, want kstate.NeighborState) {
		t.Helper()
		if err := h.ProbeNeighbor(dev, a); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		eventually(t, a.String(), func() bool {
			n, err := h.Neighbor(dev, a)
			if err != nil {
				t.Fatal(err)
			}
			if n.State != want && want == kstate.NeighborReachable {
				h.ProbeNeighbor(dev, a) // the far end may be still coming up
			}
			return n.State == want
		})
		t.Logf("%s: state %d after %s", a, want, time.Since(start).Round(time.Millisecond))
	}
	began := time.Now()
	for _, a := range neighbors {
		if n, err := h.Neighbor(dev, a); err != nil || n.Confirmed >= 0 || n.State != kstate.NeighborUnknown {
			t.Errorf("before: %v, %v", n, err)
		}
		reach(a, kstate.NeighborReachable) // unknown
		if err := h.ProbeNeighbor(dev, a); err != nil {
			t.Fatal(err)
		}
		reach(a, kstate.NeighborReachable) // known, and asked again
	}
	w := watch(t, h)
	in("ip", "link", "set", "far0", "down") // the bridge keeps up0's carrier
	down := time.Now()
	for _, a := range neighbors {
		reach(a, kstate.NeighborFailed)
		w.wait(t, func(e Event) bool {
			n := e.Neighbor
			if e.Kind != NeighborChanged || n.Interface != dev || n.Address != a || n.State != kstate.NeighborFailed {
				return false
			}
			// It answered last between the beginning and the end of the far side, whenever that is told; the kernel's times
			// are in steps.
			if now := time.Now(); n.Confirmed < 0 || now.Add(-n.Confirmed).After(down.Add(2*clockTick)) {
				t.Errorf("%s: failed, and confirmed %s ago; it is down for %s", a, n.Confirmed, now.Sub(down))
			}
			return true
		})
		if n, err := h.Neighbor(dev, a); err != nil || n.Confirmed < time.Since(down)-2*clockTick || n.Confirmed > time.Since(began)+2*clockTick {
			t.Errorf("%s: confirmed %s ago (%v), want from %s to %s", a, n.Confirmed, err, time.Since(down), time.Since(began))
		}
		reach(a, kstate.NeighborFailed) // failed, and asked again
	}
	if carrier, err := h.Poke(dev); err != nil || !carrier {
		t.Errorf("carrier %t, %v", carrier, err)
	}
	in("ip", "link", "set", "far0", "up")
	in("ip", "addr", "replace", "2001:db8::2/64", "dev", "far0", "nodad") // IPv6 addresses go with the link
	for _, a := range neighbors {
		eventually(t, "heal", func() bool {
			if err := h.ProbeNeighbor(dev, a); err != nil {
				t.Fatal(err)
			}
			n, _ := h.Neighbor(dev, a)
			return n.State == kstate.NeighborReachable
		})
	}
}
