package e2e

import (
	"context"
	"errors"
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
		eventually(t, func(ctx context.Context) error {
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
	eventually(t, func(ctx context.Context) error {
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
			if err := w.Fail(within(t), l, false); err != nil {
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
	if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: binary, Config: text}); err != nil {
		t.Fatal(err)
	}
	via(t, w, "backup", "storage", "isp-b")
	via(t, w, "client", "storage", "isp-a")
	if err := w.HealAll(within(t)); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	for _, v6 := range []bool{false, true} {
		dst := address(t, w, "storage", v6)
		eventually(t, func(ctx context.Context) error {
			a, err := w.Ask(ctx, "backup", dst)
			if err != nil || a.Via == "isp-b" {
				return fmt.Errorf("healed, and the appliance arrives by %q: %w", a.Via, err)
			}
			return nil
		})
	}
}

// TestLimit has everything fall onto ISP B's line, where the appliance may use one megabit a second: the site keeps the rest.
func TestLimit(t *testing.T) {
	need(t, "tc", "iproute2")
	w := raise(t, nil)
	edgeWith(t, w, func(c string) string {
		head, _, _ := strings.Cut(c, "steer:")
		_, tail, _ := strings.Cut(c, "api:")
		return head + "api:" + tail + `steer:
  - {name: snapshots, from: [10.20.9.0/24], use: [expressroute, isp-b], limit: {isp-b: 1mbit}}
`
	})
	settled(t, w)
	for _, l := range []string{"expressroute/primary", "expressroute/secondary", "isp-a/main"} {
		if err := w.Fail(within(t), l, false); err != nil {
			t.Fatal(err)
		}
	}
	via(t, w, "client", "storage", "isp-b")
	to := address(t, w, "storage", false)
	const pps = 5000
	appliance, err := w.Stream(t.Context(), "backup", to, pps)
	if err != nil {
		t.Fatal(err)
	}
	client, err := w.Stream(t.Context(), "client", to, pps)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) error {
		if l := client.Loss(); l.Returned < 5*pps {
			return fmt.Errorf("%s", l)
		}
		return nil
	})
	site, limited := client.Stop(), appliance.Stop()
	if site.Out+site.Back != 0 {
		t.Errorf("the site's own stream lost packets: %s", site)
	}
	// A packet of the stream is some 70 bytes: one megabit a second carries about 1,800 of 5,000.
	if limited.Arrived == 0 || limited.Arrived > limited.Sent/2 {
		t.Errorf("the appliance is not limited: %s", limited)
	}
	if _, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "stop", "--withdraw"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) error {
		out, err := inEdge(w, "tc", "qdisc", "show", "dev", "wan1")
		if err != nil || strings.Contains(out, "9800:") {
			return fmt.Errorf("our queueing discipline is left (%v): %s", err, out)
		}
		return nil
	})
}

// TestHardFailback has the circuit come back under two connections that were opened on ISP A: the one of a rule with
// failback: hard ends, so that it is opened anew on the circuit; the other one stays.
func TestHardFailback(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edgeWith(t, w, replacing("steer:\n", "steer:\n  - {name: backup, to: [20.60.72.0/22], use: [expressroute, [{isp-a: 3}, isp-b]], failback: hard}\n"))
	settled(t, w)
	for _, l := range []string{"expressroute/primary", "expressroute/secondary", "isp-b/main"} {
		if err := w.Fail(within(t), l, false); err != nil {
			t.Fatal(err)
		}
	}
	via(t, w, "client", "storage", "isp-a")
	via(t, w, "client", "web-a", "isp-a")
	hard, err := w.Connect(within(t), "client", address(t, w, "storage", false))
	if err != nil {
		t.Fatal(err)
	}
	defer hard.Close()
	soft, err := w.Connect(within(t), "client", address(t, w, "web-a", false))
	if err != nil {
		t.Fatal(err)
	}
	defer soft.Close()
	if err := w.HealAll(within(t)); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	eventually(t, func(context.Context) error {
		if _, err := hard.Ask(time.Second); err == nil {
			return errors.New("the connection under the rule goes on by the ISP")
		}
		return nil
	})
	eventually(t, func(ctx context.Context) error {
		one, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if a, err := w.Ask(one, "client", address(t, w, "storage", false)); err != nil || !strings.HasPrefix(a.Via, "circuit/") {
			return fmt.Errorf("a new one arrives by %q: %w", a.Via, err)
		}
		return nil
	})
	if a, err := soft.Ask(time.Second); err != nil || a.Via != "isp-a" {
		t.Errorf("the connection of no rule: by %q, %v", a.Via, err)
	}
	// The tier of two ISPs is in the kernel with its weights.
	eventually(t, func(context.Context) error {
		out, err := inEdge(w, "ip", "nexthop")
		if err != nil || !strings.Contains(out, ",3/") {
			return fmt.Errorf("no group with a weight of 3 (%w):\n%s", err, out)
		}
		return nil
	})
}
