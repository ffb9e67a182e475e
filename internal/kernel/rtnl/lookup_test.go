package rtnl

import (
	"net/netip"
	"testing"
)

func TestLookup(t *testing.T) {
	h := open(t)
	ip(t, "link add name v0 type veth peer name v1")
	ip(t, "addr add 10.0.0.1/24 dev v0")
	ip(t, "addr add fd00::1/64 dev v0 nodad")
	ip(t, "link set v0 up")
	ip(t, "link set v1 up")
	ip(t, "route add 192.0.2.0/24 via 10.0.0.2")
	ip(t, "route add blackhole 192.0.2.128/25")
	ip(t, "-6 route add 2001:db8::/32 via fd00::2")
	ip(t, "-6 route add blackhole 2001:db8:1::/48")
	index := index(t, "v0")
	for _, row := range []struct {
		address string
		want    int
	}{
		{"192.0.2.1", index}, {"192.0.2.129", 0}, {"9.9.9.9", 0}, {"2001:db8::1", index}, {"2001:db8:1::1", 0}, {"2a00::1", 0},
	} {
		if got, err := h.Lookup(netip.MustParseAddr(row.address)); err != nil || got != row.want {
			t.Errorf("%s leaves by interface %d (%v), want %d", row.address, got, err, row.want)
		}
	}
}
