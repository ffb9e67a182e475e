package e2e

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	v1 "bothways/internal/api/v1"
)

// TestHealthySiteIsSymmetric makes 100,000 connections of both families and protocols by every path: nothing comes back by
// another path, nothing is unanswered, and check has nothing to say of the configuration.
func TestHealthySiteIsSymmetric(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edge(t, w)
	if out, err := exec.Command(binary, "check", w.EdgeFile()).CombinedOutput(); err != nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), ": good") {
		t.Errorf("check has findings (%v):\n%s", err, out)
	}
	to := services(t, w)
	for _, host := range []string{"registry", "vpn-gateway"} {
		to = append(to, address(t, w, host, false), address(t, w, host, true))
	}
	total := 0
	for _, kind := range []struct {
		network string
		n       int
	}{{"udp", 60_000}, {"tcp", 40_000}} {
		b, err := w.Barrage(within(t), "client", kind.network, to, kind.n)
		if err != nil || b.All() != kind.n {
			t.Fatalf("%s: %s: %v", kind.network, b, err)
		}
		t.Logf("%s: %s", kind.network, b)
		for _, router := range []string{"circuit/primary", "circuit/secondary", "isp-a"} {
			if b.Answered[router] == 0 {
				t.Errorf("%s: no connection went by %s, so nothing is shown of it", kind.network, router)
			}
		}
		total += b.All()
	}
	counters, err := inEdge(w, "nft", "list", "counters", "table", "inet", "bothways")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.Split(counters, "counter ")[1:] {
		if name, rest, _ := strings.Cut(c, " "); strings.HasPrefix(name, `"asymmetry/`) && !strings.Contains(rest, "packets 0 ") {
			t.Errorf("after %d connections in a healthy world: %s", total, c)
		}
	}
	if a := asymmetry(t, w); len(a.Pairs) != 0 || len(a.OneWay) != 0 {
		t.Errorf("after %d connections in a healthy world: %+v, %+v", total, a.Pairs, a.OneWay)
	}
	eventually(t, func(ctx context.Context) error {
		var st v1.Status
		if err := w.Show(ctx, "status", &st); err != nil {
			return err
		}
		if !st.Kernel.Agrees {
			return errors.New("the kernel was not found to agree")
		}
		return nil
	})
	for _, e := range events(t, w) {
		if e.Kind == "asymmetry" {
			t.Errorf("an event tells of asymmetry: %s", e.Text)
		}
	}
}
