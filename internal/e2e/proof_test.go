package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
	"bothways/internal/lab/world"
)

// proving asks two services of the cloud, and one of the Internet, as every address of every link.
func proving(d *world.World) {
	for i := range d.Paths {
		p := &d.Paths[i]
		if p.Edge == nil {
			p.Edge = map[string]string{}
		}
		if p.Edge["prove"] != "" {
			continue
		}
		p.Edge["prove"] = `{every: 1s, timeout: 500ms, addresses: 3, targets: [{icmp: 20.60.72.10}, {tcp: "4.198.0.10:80"}, {icmp: "2603:1010::10"}]}`
	}
}

// proofs waits until the verdicts are as wanted: by link, address and family where they differ.
func proofs(t *testing.T, w *lab.World, want func(v1.Proof) string) []v1.Proof {
	t.Helper()
	var list []v1.Proof
	eventually(t, func(ctx context.Context) error {
		list = nil // what an answer leaves out must not be that of the one before
		if err := w.Show(ctx, "proofs", &list); err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("there are no proofs")
		}
		for _, p := range list {
			if verdict := want(p); verdict != "" && p.Verdict != verdict {
				return fmt.Errorf("%s as %s (%s) by %s: %s, %s; want %s", p.Link, p.Address, p.Kind, p.By, p.Verdict, p.Why, verdict)
			}
		}
		return nil
	})
	return list
}

// TestProofs has a healthy site prove every way back, of standby links too, and count nothing as asymmetric or leaked; then
// a router of the Internet forgets what the site announced to it.
func TestProofs(t *testing.T) {
	t.Parallel()
	w := raise(t, proving)
	edge(t, w)
	list := proofs(t, w, func(p v1.Proof) string {
		if p.Kind == "own" {
			return "" // providers need not route the subnets of their links
		}
		return "same path"
	})
	pools := map[string]int{}
	for _, p := range list {
		if p.Kind == "pool" {
			pools[p.Link+" "+p.Family]++
		}
	}
	for _, want := range []string{"expressroute/primary ipv4", "expressroute/secondary ipv4", "isp-a/main ipv4", "expressroute/primary ipv6", "isp-a/main ipv6", "isp-b/main ipv6"} {
		if pools[want] != 3 {
			t.Errorf("%s: %d addresses of its pool are proven, want 3: %v", want, pools[want], pools)
		}
	}
	if a := asymmetry(t, w); len(a.Pairs) != 0 || len(a.OneWay) != 0 {
		t.Errorf("proofs are counted as traffic: %+v", a)
	}
	var n v1.Translation
	if err := w.Show(within(t), "nat", &n); err != nil {
		t.Fatal(err)
	}
	for _, g := range n.Guards {
		if strings.HasPrefix(g.Name, "guard_") && g.Packets != 0 {
			t.Errorf("%s dropped %d packets of proofs", g.Name, g.Packets)
		}
	}
}
