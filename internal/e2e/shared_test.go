package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
	"bothways/internal/lab/world"
)

// TestSharedPool is what the first account of such a site ran: one pool for the circuit and the Internet. Whether the provider
// answers on its circuit or by the longest prefix, half of the connections come back by the other path: that is found before
// and while it happens, explained, and healed by a part of the pool that only the circuit announces.
func TestSharedPool(t *testing.T) {
	const (
		circuit = `announce: ["203.0.113.0/24", "203.0.113.32/27", "2001:db8:100::/48"]`
		isp     = `announce: ["203.0.113.0/24", "2001:db8:200::/48"]`
	)
	rows := []struct {
		name   string
		edge   func(string) string
		static string
		letter string
		of, by string
		asks   string // a service whose connections come back by the other path
	}{
		{
			"the provider answers on the circuit",
			replacing(circuit, "shared: true\n    "+`announce: ["203.0.113.0/24", "2001:db8:100::/48"]`),
			"warning: path isp-a: case B: pool 203.0.113.0/27 is announced as 203.0.113.0/24 on the circuit expressroute too",
			"B", "isp-a", "expressroute", "vpn-gateway",
		},
		{
			"the provider answers by the longest prefix",
			replacing(circuit, "shared: true\n    "+`announce: ["203.0.113.0/24", "2001:db8:100::/48"]`, isp, `announce: ["203.0.113.0/24", "203.0.113.0/27", "2001:db8:200::/48"]`),
			"warning: path expressroute: case A: pool 203.0.113.0/27 is announced as 203.0.113.0/27 on path isp-a too",
			"A", "expressroute", "isp-a", "storage",
		},
	}
	for _, row := range rows {
		t.Run(row.letter, func(t *testing.T) {
			t.Parallel()
			w := raise(t, func(d *world.World) {
				p := d.Path("expressroute")
				p.Announce = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("203.0.113.32/27"), netip.MustParsePrefix("2001:db8:100::/48")}
				p.NAT[netip.MustParsePrefix("10.20.0.0/16")] = "203.0.113.0/27"
				proving(d)
			})
			text, err := w.EdgeConfig()
			if err != nil {
				t.Fatal(err)
			}
			edgeWith(t, w, func(c string) string {
				c = row.edge(c)
				if said := checks(t, c); !strings.Contains(said, row.static) {
					t.Errorf("%s: check says\n%s\nwant %q", row.name, said, row.static)
				}
				return c
			})
			settled(t, w)
			crossing(t, w, "replies in", row.of, row.by, row.letter, asks(w, row.asks))
			proofs(t, w, func(p v1.Proof) string {
				return wantIf(p, p.Path == row.of && p.Kind == "pool" && p.Family == "ipv4", "other path", row.letter)
			})

			// A part of the pool for the circuit alone, announced there and nowhere else as specifically.
			healed := replacing(circuit, `announce: ["203.0.113.32/27", "2001:db8:100::/48"]`, `"10.20.0.0/16": "203.0.113.0/27"`, `"10.20.0.0/16": "203.0.113.32/27"`)(text)
			if said := checks(t, healed); strings.Contains(said, "case") {
				t.Errorf("healed, and check says\n%s", said)
			}
			if err := w.ReloadEdge(healed); err != nil {
				t.Fatal(err)
			}
			proofs(t, w, func(p v1.Proof) string { return wantIf(p, p.Kind == "pool", "same path", "") })
			settled(t, w)
			var before v1.Asymmetry
			if err := w.Show(within(t), "asymmetry", &before); err != nil {
				t.Fatal(err)
			}
			b, err := w.Barrage(within(t), "client", "tcp", []netip.Addr{address(t, w, "storage", false), address(t, w, "vpn-gateway", false), address(t, w, "registry", false)}, 300)
			if err != nil {
				t.Fatal(err)
			}
			if b.All() != 300 {
				t.Errorf("healed, and of 300 connections %s", b)
			}
			counted(t, w, before)
			eventually(t, func(ctx context.Context) error {
				var y v1.Symmetry
				if err := w.Show(ctx, "symmetry", &y); err != nil || len(y.Findings) > 0 {
					return fmt.Errorf("healed, and there are findings: %+v (%w)", y.Findings, err)
				}
				return nil
			})
		})
	}
}

// counted fails where more packets are asymmetric than before.
func counted(t *testing.T, w *lab.World, before v1.Asymmetry) {
	t.Helper()
	was := map[string]uint64{}
	for _, p := range before.Pairs {
		was[p.Kind+p.Connection+p.Reply] = p.Packets
	}
	for _, p := range asymmetry(t, w).Pairs {
		if p.Packets > was[p.Kind+p.Connection+p.Reply] {
			t.Errorf("%d more %s of %s by %s", p.Packets-was[p.Kind+p.Connection+p.Reply], p.Kind, p.Connection, p.Reply)
		}
	}
}
