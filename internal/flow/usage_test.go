package flow

import (
	"net/netip"
	"testing"
)

func TestUse(t *testing.T) {
	pool, other := netip.MustParseAddr("198.51.100.64"), netip.MustParseAddr("198.51.100.65")
	conn := func(as netip.Addr, protocol uint8, to string) Flow {
		return Flow{Protocol: protocol, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort(to), Translated: as}
	}
	in := conn(pool, 6, "4.0.0.1:443")
	in.Inbound = true
	got := Use([]Flow{
		conn(pool, 6, "4.0.0.1:443"), conn(pool, 6, "4.0.0.1:443"), conn(pool, 6, "4.0.0.2:443"), conn(pool, 17, "4.0.0.1:443"),
		conn(other, 6, "4.0.0.1:80"), conn(netip.MustParseAddr("10.20.1.1"), 6, "4.0.0.1:443"), in,
	})
	want := []Usage{
		{pool, 6, 3, 2, netip.MustParseAddrPort("4.0.0.1:443")},
		{pool, 17, 1, 1, netip.MustParseAddrPort("4.0.0.1:443")},
		{other, 6, 1, 1, netip.MustParseAddrPort("4.0.0.1:80")},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

func TestLevels(t *testing.T) {
	rows := []struct {
		before Level
		n      int
		want   Level
	}{{Fine, 0, Fine}, {Fine, 899, Fine}, {Fine, 900, Near}, {Near, 850, Near}, {Near, 799, Fine}, {Near, 990, Full}, {Full, 950, Full}, {Full, 799, Fine}, {Fine, 1000, Full}}
	for _, row := range rows {
		if got := LevelOf(row.before, row.n, 1000); got != row.want {
			t.Errorf("%s with %d of 1000: %s, want %s", row.before, row.n, got, row.want)
		}
	}
	if LevelOf(Full, 5, 0) != Fine {
		t.Error("without a limit nothing is full")
	}
}
