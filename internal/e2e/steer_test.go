package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// via waits until new requests of a host arrive by a router.
func via(t *testing.T, w *lab.World, from, to, router string) {
	t.Helper()
	for _, v6 := range []bool{false, true} {
		dst := address(t, w, to, v6)
		eventually(t, 20*time.Second, func(ctx context.Context) error {
			one, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			a, err := w.Ask(one, from, dst)
			if err != nil || a.Via != router {
				return fmt.Errorf("%s to %s (%s) arrives by %q, want %s: %w", from, to, dst, a.Via, router, err)
			}
			return nil
		})
	}
}

// TestSteerBySource has the backup appliance use ISP B for what the circuit announces, when the circuit is dead and also
// when the daemon starts without it: everybody else goes by ISP A.
func TestSteerBySource(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edgeWith(t, w, func(c string) string {
		head, _, _ := strings.Cut(c, "steer:")
		_, tail, _ := strings.Cut(c, "api:")
		return head + "api:" + tail + `steer:
  - {name: azure-vpn, to: [13.70.64.20/32, "2603:1010:6::20/128"], use: [isp-a, isp-b], otherwise: drop}
  - {name: snapshots, from: [10.20.9.0/24, "fd20:0:0:0::9:0/112"], to: learned/expressroute, use: [expressroute, isp-b], sticky: none}
`
	})
	settled(t, w)
	eventually(t, 10*time.Second, func(ctx context.Context) error {
		var r v1.Rankings
		if err := w.Show(ctx, "rankings", &r); err != nil {
			return err
		}
		for _, s := range r.Steer {
			if s.Rule == "snapshots" && len(s.Tiers) > 0 {
				return nil
			}
		}
		return fmt.Errorf("the rule has no destinations yet: %+v", r.Steer)
	})
	circuit := []string{"expressroute/primary", "expressroute/secondary"}
	fail := func() {
		for _, l := range circuit {
			if err := w.Fail(within(t, 5*time.Second), l, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	fail()
	via(t, w, "backup", "storage", "isp-b")
	via(t, w, "client", "storage", "isp-a")
	via(t, w, "backup", "registry", "isp-a") // not announced by the circuit, so no matter of the rule
	via(t, w, "backup", "vpn-gateway", "isp-a")

	running, err := os.ReadFile(w.EdgeFile())
	if err != nil {
		t.Fatal(err)
	}
	text := string(running)
	if err := w.KillEdge(); err != nil {
		t.Fatal(err)
	}
	if err := w.StartEdge(within(t, 20*time.Second), lab.EdgeOptions{Binary: binary, Config: text}); err != nil {
		t.Fatal(err)
	}
	via(t, w, "backup", "storage", "isp-b")
	via(t, w, "client", "storage", "isp-a")
	if err := w.HealAll(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	for _, v6 := range []bool{false, true} {
		dst := address(t, w, "storage", v6)
		eventually(t, 20*time.Second, func(ctx context.Context) error {
			a, err := w.Ask(ctx, "backup", dst)
			if err != nil || a.Via == "isp-b" {
				return fmt.Errorf("healed, and the appliance arrives by %q: %w", a.Via, err)
			}
			return nil
		})
	}
}
