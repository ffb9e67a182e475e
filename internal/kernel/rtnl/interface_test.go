package rtnl

import (
	"context"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

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
