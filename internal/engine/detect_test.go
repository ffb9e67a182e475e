package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/track"
)

func TestBFDTrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, "neighbor: 192.0.2.2", "neighbor: 192.0.2.2, bfd: true", 1), Adopted{})
		defer f.end()
		bothUp(f)
		if len(f.detected) != 1 || f.detected[0].Interval != 300*time.Millisecond || f.detected[0].Multiplier != 3 {
			t.Fatalf("asked for %+v", f.detected)
		}
		wants := func(what, want string) {
			t.Helper()
			if got := f.using("4.1.1.1/32"); got != want {
				t.Errorf("%s: 4.1.1.1 goes by %s, want %s", what, got, want)
			}
		}
		wants("never up", "er/primary er/secondary")
		f.tell(BFDChanged{Key: keyPrimary, Up: true}, BFDChanged{Key: keyPrimary, Why: "silence"})
		wants("down", "er/secondary")
		f.tell(BFDChanged{Key: keyPrimary, Admin: true, Why: "the neighbor ended it"})
		wants("ended by an operator", "er/primary er/secondary")
		f.tell(BFDChanged{Key: keySecondary, Why: "not configured there"})
		wants("of a link without BFD", "er/primary er/secondary")
	})
}

func TestProbeTrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probes := "    track: {probes: [{icmp: 9.9.9.1}, {icmp: 9.9.9.2}], every: 100ms, down-after: 2, up-after: 1, up-delay: 0s}\n"
		f := start(t, strings.Replace(site, "  er:\n", "  er:\n"+probes, 1), Adopted{})
		defer f.end()
		bothUp(f)
		if len(f.probing) != 2 || f.probing[0].Mark != 1 || len(f.probing[0].Targets) != 2 {
			t.Fatalf("probing %+v", f.probing)
		}
		say := func(target string, ok bool) {
			f.tell(Probed{Key: keyPrimary, Result: track.ProbeResult{Target: target, OK: ok, Why: "no answer"}})
		}
		for range 3 {
			say("icmp 9.9.9.1", false)
			say("icmp 9.9.9.2", false)
		}
		if got := f.using("4.1.1.1/32"); got != "er/primary er/secondary" {
			t.Errorf("probes that no route was there for took the link down: %s", got)
		}
		sent := time.Now()
		f.sleep(time.Second)
		f.tell(Applied{Sequence: f.last().Sequence, At: time.Now()})
		for _, target := range []string{"icmp 9.9.9.1", "icmp 9.9.9.2"} {
			for range 2 {
				f.tell(Probed{Key: keyPrimary, Sent: sent, Result: track.ProbeResult{Target: target, Why: "no answer"}})
			}
		}
		if got := f.using("4.1.1.1/32"); got != "er/primary er/secondary" {
			t.Errorf("probes from before the route took the link down: %s", got)
		}
		for range 3 {
			say("icmp 9.9.9.1", false)
		}
		if got := f.using("4.1.1.1/32"); got != "er/primary er/secondary" {
			t.Errorf("one target alone took the link down: %s", got)
		}
		for range 2 {
			say("icmp 9.9.9.2", false)
		}
		if got := f.using("4.1.1.1/32"); got != "er/secondary" {
			t.Errorf("both targets are silent, and 4.1.1.1 goes by %s", got)
		}
		local := false
		for _, r := range f.last().Objects.Rules {
			local = local || r.Local && r.Mark == 1
		}
		if !local {
			t.Error("probes of the dead link have no rule that sends them by it")
		}
		say("icmp 9.9.9.1", true)
		say("icmp 9.9.9.2", true)
		if got := f.using("4.1.1.1/32"); got != "er/primary er/secondary" {
			t.Errorf("both answer, and 4.1.1.1 goes by %s", got)
		}
	})
}
