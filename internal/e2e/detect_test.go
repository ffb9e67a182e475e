package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// inRouter runs a command in a router's namespace.
func inRouter(t *testing.T, w *lab.World, router, name string, args ...string) {
	t.Helper()
	var out []byte
	err := w.Exec(router, func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s in %s: %v: %s", name, router, err, out)
	}
}

func track(ctx context.Context, w *lab.World, link, kind string) (v1.Track, error) {
	var all []v1.Track
	if err := w.Show(ctx, "tracks", &all); err != nil {
		return v1.Track{}, err
	}
	for _, x := range all {
		if x.Link == link && x.Kind == kind && (x.Family == "ipv4" || x.Family == "") {
			return x, nil
		}
	}
	return v1.Track{}, fmt.Errorf("no track %s of %s among %+v", kind, link, all)
}

func trackIs(t *testing.T, w *lab.World, link, kind, want string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		x, err := track(ctx, w, link, kind)
		if err != nil || x.State != want {
			return fmt.Errorf("%s of %s is %s (%s), want %s: %w", kind, link, x.State, x.Why, want, err)
		}
		return nil
	})
}

// birdSpeaksBFD has BIRD speak it on ISP A's router, at these timers.
func birdSpeaksBFD(t *testing.T, w *lab.World, interval time.Duration, multiplier int) {
	t.Helper()
	conf := filepath.Join(w.Dir, "bird.conf")
	text := fmt.Sprintf(`router id 198.18.1.1;
protocol device {}
protocol bfd { interface "*" { interval %d ms; multiplier %d; }; neighbor 198.18.1.2; neighbor 2001:db8:a::2 local 2001:db8:a::1; }
`, interval.Milliseconds(), multiplier)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(w.Dir, "bird.pid")
	inRouter(t, w, "isp-a", "bird", "-c", conf, "-s", filepath.Join(w.Dir, "bird.ctl"), "-P", pid)
	endsWithTest(t, pid)
}

// TestBFDFindsSilence has BIRD speak BFD on ISP A's router, which then falls silent with its carrier up.
func TestBFDFindsSilence(t *testing.T) {
	need(t, "bird", "bird2")
	w := raise(t, func(d *worldOf) { d.Router("isp-a").Edge = map[string]string{"bfd": "{interval: 50ms, multiplier: 3}"} })
	birdSpeaksBFD(t, w, 50*time.Millisecond, 3)
	edge(t, w)
	trackIs(t, w, "isp-a/main", "bfd", "up")
	stream, err := w.Stream(t.Context(), "client", address(t, w, "registry", false), 2000)
	if err != nil {
		t.Fatal(err)
	}
	waitReturned(t, stream, 1000)
	if err := w.Fail(within(t), "isp-a/main", true); err != nil {
		t.Fatal(err)
	}
	waitReturned(t, stream, 3000)
	if gap := stream.Stop().Gap; gap > 600*time.Millisecond {
		t.Errorf("a silent link was left after %s; its neighbor track alone takes 3 s", gap)
	} else {
		t.Logf("longest gap %s at 50 ms × 3", gap)
	}
	trackIs(t, w, "isp-a/main", "bfd", "down")
	if err := w.HealAll(within(t)); err != nil {
		t.Fatal(err)
	}
	trackIs(t, w, "isp-a/main", "bfd", "up")
	via(t, w, "client", "registry", "isp-a")
}

func waitReturned(t *testing.T, s *lab.Stream, n uint64) {
	t.Helper()
	before := s.Loss().Returned
	eventually(t, func(context.Context) error {
		if l := s.Loss(); l.Returned < before+n {
			return fmt.Errorf("%s", l)
		}
		return nil
	})
}

// TestProbesFindADeadDataPlane has ISP A's router answer ARP and BGP and forward nothing: only probes tell.
func TestProbesFindADeadDataPlane(t *testing.T) {
	need(t, "nft", "nftables")
	w := raise(t, nil)
	target := address(t, w, "registry", false)
	edgeWith(t, w, func(c string) string {
		track := fmt.Sprintf("    track: {probes: [{icmp: %s}, {icmp: 13.70.64.20}], every: 100ms, down-after: 3, up-after: 3, up-delay: 1s}\n", target)
		return strings.Replace(c, "  isp-a:\n", "  isp-a:\n"+track, 1)
	})
	settled(t, w)
	trackIs(t, w, "isp-a/main", "probes", "up")
	stream, err := w.Stream(t.Context(), "client", target, 2000)
	if err != nil {
		t.Fatal(err)
	}
	waitReturned(t, stream, 1000)
	inRouter(t, w, "isp-a", "nft", "add table inet dead; add chain inet dead f { type filter hook forward priority 0; policy drop; }")
	waitReturned(t, stream, 3000)
	if gap := stream.Stop().Gap; gap > 1500*time.Millisecond {
		t.Errorf("a dead data plane was left after %s", gap)
	} else {
		t.Logf("longest gap %s with probes 100 ms × 3", gap)
	}
	var sessions []v1.Session
	if err := w.Show(within(t), "sessions", &sessions); err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		if s.Link == "isp-a/main" && s.State != "Established" {
			t.Errorf("the session went down too, so this shows nothing: %+v", s)
		}
	}
	inRouter(t, w, "isp-a", "nft", "delete", "table", "inet", "dead")
	trackIs(t, w, "isp-a/main", "probes", "up")
	via(t, w, "client", "registry", "isp-a")
}
