package rtnl

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

func mustSysctl(t testing.TB, h *Handle, key, value string) {
	t.Helper()
	if err := h.SetSysctl(key, value); err != nil {
		t.Fatal(err)
	}
}

func TestInterfaces(t *testing.T) {
	h := open(t)
	dev0, dev1 := twoLinks(t)
	ip(t, "link set up1 mtu 1400")
	ip(t, "link set down1 down")
	eventually(t, "carrier", func() bool { c, err := h.Poke(dev1); return err == nil && !c })
	all, err := h.Interfaces(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) kstate.Interface {
		return all[slices.IndexFunc(all, func(x kstate.Interface) bool { return x.Index == i })]
	}
	up0, up1 := at(dev0), at(dev1)
	if up0.Name != "up0" || !up0.AdminUp || !up0.Carrier || up0.MTU != 1500 ||
		!slices.Contains(up0.Addresses, prefix("192.0.2.1/30")) || !slices.Contains(up0.Addresses, prefix("2001:db8::1/64")) {
		t.Errorf("up0: %+v", up0)
	}
	if !up1.AdminUp || up1.Carrier || up1.MTU != 1400 {
		t.Errorf("up1: %+v", up1)
	}
	if _, err := h.Poke(9999); !errors.Is(err, unix.ENODEV) {
		t.Errorf("poke: %v", err)
	}
}

func BenchmarkPoke(b *testing.B) {
	h := open(b)
	dev0, _ := twoLinks(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Poke(dev0); err != nil {
			b.Fatal(err)
		}
	}
}

// The neighbor sits behind a bridge, so that the carrier stays when it falls silent.
func TestProbeNeighbor(t *testing.T) {
	h := open(t)
	pid := neighborNetns(t)
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
	in := func(args ...string) { run(t, "nsenter", append([]string{"-t", pid, "-n"}, args...)...) }
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
	for _, a := range neighbors {
		if n, err := h.Neighbor(dev, a); err != nil || n.State != kstate.NeighborUnknown {
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
	for _, a := range neighbors {
		reach(a, kstate.NeighborFailed)
		w.wait(t, func(e Event) bool {
			return e.Kind == NeighborChanged && e.Neighbor == kstate.Neighbor{Interface: dev, Address: a, State: kstate.NeighborFailed}
		})
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

func TestGateway(t *testing.T) {
	h := open(t)
	dev0, dev1 := twoLinks(t)
	want := func(dev int, f route.Family, gw string, ok bool) {
		t.Helper()
		got, gotOK, err := h.Gateway(context.Background(), dev, f)
		if err != nil || gotOK != ok || ok && gw != "" && got != addr(gw) || gw == "" && got.IsValid() {
			t.Errorf("gateway of %d: %v %t %v, want %s %t", dev, got, gotOK, err, gw, ok)
		}
	}
	want(dev0, route.IPv4, "", false)
	ip(t, "route add default via 192.0.2.2 metric 200")
	ip(t, "route add default via 192.0.2.6 metric 100")
	ip(t, "route add default via 198.18.9.1 dev up0 onlink metric 10 proto 98")
	want(dev0, route.IPv4, "192.0.2.2", true)
	want(dev1, route.IPv4, "192.0.2.6", true)
	want(dev0, route.IPv6, "", false)
	ip(t, "-6 route add default nexthop via 2001:db8::9 dev up0 nexthop via 2001:db8:1::9 dev up1")
	want(dev1, route.IPv6, "2001:db8:1::9", true)
	mustSysctl(t, h, "net.ipv4.nexthop_compat_mode", "0")
	ip(t, "nexthop add id 3 via 192.0.2.2 dev up0")
	ip(t, "nexthop add id 4 group 3")
	ip(t, "route flush 0/0 table main")
	ip(t, "route add default nhid 4")
	want(dev0, route.IPv4, "192.0.2.2", true)
	want(dev1, route.IPv4, "", false)
	ip(t, "route replace default dev up1")
	want(dev1, route.IPv4, "", true)
}

func TestSysctl(t *testing.T) {
	h := open(t)
	ip(t, "link add er0.100 type veth peer name peer0")
	for _, key := range []string{"net.ipv4.conf.er0/100.rp_filter", "net/ipv4/conf/er0.100/rp_filter"} {
		for _, value := range []string{"2", "1"} {
			mustSysctl(t, h, key, value)
			if got, err := h.Sysctl(key); err != nil || got != value {
				t.Errorf("%s: %q, %v, want %s", key, got, err, value)
			}
		}
	}
	if got, err := h.Sysctl("net.ipv4.conf.lo.rp_filter"); err != nil {
		t.Errorf("%q %v", got, err)
	}
	for _, key := range []string{"net.ipv4.no_such_key", "net.ipv4.conf.er0.100.rp_filter"} {
		if err := h.SetSysctl(key, "1"); !errors.Is(err, ErrNotSettable) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := h.SetSysctl("net.ipv4.ip_forward", "sausage"); err == nil || errors.Is(err, ErrNotSettable) {
		t.Errorf("bad value: %v", err)
	}
	if _, err := h.Sysctl("net.../../../etc/passwd"); err == nil {
		t.Error("left /proc/sys")
	}
	// Another thread, in another namespace: the handle's is meant still.
	mustSysctl(t, h, "net.ipv4.ip_forward", "1")
	got := make(chan string)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			got <- err.Error()
			return
		}
		v, err := h.Sysctl("net.ipv4.ip_forward")
		if err != nil {
			v = err.Error()
		}
		got <- v
	}()
	if v := <-got; v != "1" {
		t.Errorf("from another namespace: %s", v)
	}
}

func TestFeatures(t *testing.T) {
	h := open(t)
	missing, err := h.Features(context.Background())
	if err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
}
