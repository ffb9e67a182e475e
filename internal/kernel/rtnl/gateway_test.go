package rtnl

import (
	"context"
	"testing"

	"bothways/internal/route"
)

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
