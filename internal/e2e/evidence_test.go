package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
)

// TestFailoverIsTimedFromEvidence has ISP A's router, on which BIRD speaks BFD and a probe is answered, fall silent: the
// events of it give every phase, in order, from the last packet that BFD heard.
func TestFailoverIsTimedFromEvidence(t *testing.T) {
	need(t, "bird", "bird2")
	const interval, multiplier, every = 50 * time.Millisecond, 3, 20 * time.Millisecond
	w := raise(t, func(d *worldOf) { d.Router("isp-a").Edge = map[string]string{"bfd": "{interval: 50ms, multiplier: 3}"} })
	birdSpeaksBFD(t, w, interval, multiplier)
	target := address(t, w, "registry", false)
	edgeWith(t, w, func(c string) string {
		track := fmt.Sprintf("    track: {probes: [{icmp: %s}], every: %s, down-after: 200, up-after: 3, up-delay: 0s}\n", target, every)
		for _, path := range []string{"isp-a", "isp-b"} {
			c = strings.Replace(c, "  "+path+":\n", "  "+path+":\n"+track, 1)
		}
		return c
	})
	settled(t, w)
	trackIs(t, w, "isp-a/main", "bfd", "up")
	trackIs(t, w, "isp-a/main", "probes", "up")
	trackIs(t, w, "isp-b/main", "probes", "up")
	// A session comes up at slow timers, and agrees on the fast ones then.
	eventually(t, func(context.Context) error {
		out, err := ask(w, "isp-a", "birdc", "-s", filepath.Join(w.Dir, "bird.ctl"), "show", "bfd", "sessions")
		if n := strings.Count(out, " 0.050 "); err != nil || n != 2 || strings.Count(out, "0.150") != 2 {
			return fmt.Errorf("BFD has not agreed on its timers: %v: %s", err, out)
		}
		return nil
	})
	before := time.Now()
	if err := w.Fail(within(t), "isp-a/main", true); err != nil {
		t.Fatal(err)
	}
	var failover, lost v1.Event
	eventually(t, func(ctx context.Context) error {
		var events []v1.Event
		if err := w.Show(ctx, "events", &events); err != nil {
			return err
		}
		for _, e := range events {
			if !e.At.After(before) || e.Subject != "isp-a/main bfd down" {
				continue
			}
			switch e.Kind {
			case "failover":
				failover = e
			case "lost":
				lost = e
			}
		}
		if failover.Kind == "" || lost.Kind == "" {
			return fmt.Errorf("not told of yet: failover %+v, lost %+v", failover, lost)
		}
		return nil
	})
	t.Logf("failover: %s: %v", failover.Text, failover.Phases)
	t.Logf("lost: %s: %v %+v", lost.Text, lost.Phases, lost.Lost)
	// BFD says down when nothing came for interval × multiplier after the last packet, and no sooner. That the engine hears
	// of it takes what the machine takes.
	detection := float64((interval * multiplier).Milliseconds())
	p := failover.Phases
	if p["detected"] < detection || p["detected"] > detection+1000 {
		t.Errorf("detected %.1f ms after the last packet, want %.0f ms and little more", p["detected"], detection)
	}
	if p["decided"] <= 0 || p["decided"] > p["kernel"] || p["routes"] != 0 && p["routes"] < p["kernel"] {
		t.Errorf("phases out of order: %v", p)
	}
	answered, ok := lost.Phases["answered"]
	if !ok || answered < p["kernel"] {
		t.Errorf("answered by another way after %.1f ms, before the kernel had it after %.1f ms", answered, p["kernel"])
	}
	if lost.Lost == nil {
		t.Fatal("nothing is said of probes")
	}
	// One each 20 ms from some time before the link was seen dead, until the first answer by another way. The last answered
	// probe and the last packet of BFD are at most an interval of each apart.
	span := p["detected"] + answered
	want := span / float64(every.Milliseconds())
	slack := float64((interval+every)/every) + 2
	if n := float64(lost.Lost.Probes); n < want-slack || n > want+slack {
		t.Errorf("%.0f probes lost in about %.0f ms, want %.0f and at most %.0f more or less", n, span, want, slack)
	}
}
