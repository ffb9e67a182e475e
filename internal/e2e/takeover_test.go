package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// withoutGracefulRestart has no router keep anything of a neighbor that goes.
func withoutGracefulRestart(d *worldOf) {
	for i := range d.Routers {
		d.Routers[i].GracefulRestart = false
	}
}

// unhurried is BFD that survives a machine on which a neighbor does not get to run for a second, but no other end of its
// neighbor: a process that spoke it and died would be replaced later than this finds out.
const unhurried = "{interval: 300ms, multiplier: 5}"

// since is when each session came up, as the routers say it.
func since(t *testing.T, w *lab.World) map[string]time.Time {
	t.Helper()
	out := map[string]time.Time{}
	for _, r := range w.Description.Routers {
		if r.ASN == 0 {
			continue
		}
		all, err := w.Sessions(within(t), r.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if !s.Established {
				t.Errorf("%s: session with %s is %s", r.Name, s.Peer, s.State)
			}
			out[r.Name+" "+s.Peer.String()] = s.Since
		}
	}
	return out
}

// unchanged fails where a router has seen a session of it end.
func unchanged(t *testing.T, w *lab.World, before map[string]time.Time) {
	t.Helper()
	after := since(t, w)
	if len(before) == 0 || len(after) != len(before) {
		t.Errorf("sessions since %v, before %v", after, before)
	}
	for k, at := range before {
		if at.IsZero() || !after[k].Equal(at) {
			t.Errorf("%s is up since %v, was since %v", k, after[k], at)
		}
	}
}

func eventLog(t *testing.T, w *lab.World) string {
	t.Helper()
	out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "show", "events")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRestartIsNotNoticed restarts the edge five times, the last two in a row, under traffic, with neighbors that keep nothing of one that goes:
// no session ends, no packet is lost, no connection breaks.
func TestRestartIsNotNoticed(t *testing.T) {
	need(t, "bird", "bird2")
	w := raise(t, func(d *worldOf) {
		withoutGracefulRestart(d)
		d.Router("isp-a").Edge = map[string]string{"bfd": unhurried}
	})
	birdSpeaksBFD(t, w, 300*time.Millisecond, 5)
	edge(t, w)
	trackIs(t, w, "isp-a/main", "bfd", "up")
	if out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "drain", "expressroute/secondary"); err != nil {
		t.Fatal(out, err)
	}
	before := since(t, w)
	bfdUp := birdBFDSince(t, w)
	table, err := ourTable(w)
	if err != nil {
		t.Fatal(err)
	}
	crowd, err := w.Crowd(within(t), "client", []netip.Addr{address(t, w, "storage", false), address(t, w, "registry", false)}, 50)
	if err != nil {
		t.Fatal(err)
	}
	defer crowd.Close()
	all := streams(t, w)
	pids := map[int]bool{}
	for range 3 {
		began := time.Now()
		done, err := w.RestartEdge(within(t), "")
		if err != nil {
			t.Fatal(err)
		}
		pids[done.PID], pids[done.Before] = true, true
		settledOrDrained(t, w)
		t.Logf("process %d after %d; stood still for %d ms; reconciled %s after the word", done.PID, done.Before, done.Still, time.Since(began).Round(time.Millisecond))
		flow(t, all, 5000)
	}
	for range 2 { // the second takes over what the first has hardly begun with
		done, err := w.RestartEdge(within(t), "")
		if err != nil {
			t.Fatal(err)
		}
		pids[done.PID] = true
	}
	settledOrDrained(t, w)
	flow(t, all, 5000)
	if len(pids) != 6 {
		t.Errorf("processes %v, want six", pids)
	}
	for i, s := range all {
		if l := s.Stop(); l.Out+l.Back != 0 || l.Changes > 0 {
			t.Errorf("stream %d: %s, %d changes of the source", i, l, l.Changes)
		}
	}
	for _, err := range crowd.Ask(5 * time.Second) {
		t.Error(err)
	}
	unchanged(t, w, before)
	sameTimes(t, bfdUp, birdBFDSince(t, w))
	if after, err := ourTable(w); err != nil || after != table {
		t.Errorf("our table changed: %s (%v)", firstDifference(table, after), err)
	}
	var st v1.Status
	if err := w.Show(within(t), "status", &st); err != nil {
		t.Fatal(err)
	}
	if st.Kernel.Repaired != 0 || st.Kernel.Refused != 0 {
		t.Errorf("after the restarts: %+v", st.Kernel)
	}
	log := eventLog(t, w)
	if n := strings.Count(log, "took over"); n != 5 || !strings.Contains(log, "established") || !strings.Contains(log, "drained") {
		t.Errorf("%d of 5 restarts in the journal, or what was there before is not:\n%s", n, log)
	}
	if strings.Contains(log, "down") {
		t.Errorf("something went down:\n%s", log)
	}
	var links []v1.Link
	if err := w.Show(within(t), "links", &links); err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if (l.State == "drained") != (l.Name == "expressroute/secondary") {
			t.Errorf("link %s is %s", l.Name, l.State)
		}
	}
	if out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "reload"); err != nil {
		t.Error("a reload after the restarts:", out, err)
	}
	settledOrDrained(t, w)
	unchanged(t, w, before)
}

// settledOrDrained waits until the kernel holds what it shall.
func settledOrDrained(t *testing.T, w *lab.World) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		var st v1.Status
		if err := w.Show(ctx, "status", &st); err != nil {
			return err
		}
		if st.Mode != "full" || st.Waiting != 0 || st.Kernel.Pending != 0 || st.Kernel.Behind != 0 {
			return fmt.Errorf("mode %s, %d sessions have more to say, %d routes pending, last error %q", st.Mode, st.Waiting, st.Kernel.Pending, st.Kernel.LastError)
		}
		return nil
	})
}

// birdBFDSince is since when each session of BIRD's on ISP A's router is up.
func birdBFDSince(t *testing.T, w *lab.World) map[string]time.Time {
	t.Helper()
	var out []byte
	err := w.Exec("isp-a", func() (err error) {
		out, err = exec.Command("birdc", "-s", filepath.Join(w.Dir, "bird.ctl"), "show", "bfd", "sessions").CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	up := map[string]time.Time{}
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Fields(line); len(f) > 3 && f[2] == "Up" {
			if up[f[0]], err = time.Parse("15:04:05.000", f[3]); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	if len(up) != 2 {
		t.Errorf("bfd sessions that are up: %q", out)
	}
	return up
}

// sameTimes fails where a session is up since another time. BIRD's clock and its print of it differ by a millisecond or two.
func sameTimes(t *testing.T, before, after map[string]time.Time) {
	t.Helper()
	for k, at := range before {
		if after[k].Sub(at).Abs() > 20*time.Millisecond {
			t.Errorf("%s is up since %v, was since %v", k, after[k], at)
		}
	}
}

// program is a copy of the daemon that a test may replace, as an upgrade does.
func program(t *testing.T, w *lab.World) string {
	t.Helper()
	p := filepath.Join(w.Dir, "bothways")
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, p, data)
	return p
}

func replace(t *testing.T, p string, data []byte) {
	t.Helper()
	if err := os.WriteFile(p+".new", data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p+".new", p); err != nil {
		t.Fatal(err)
	}
}

// TestRestartThatFails has the process that is to take over fail in every way: the one that runs goes on, and nobody
// notices.
func TestRestartThatFails(t *testing.T) {
	w := raise(t, withoutGracefulRestart)
	p := program(t, w)
	if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: p}); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	before := since(t, w)
	all := streams(t, w)
	good, err := os.ReadFile(w.EdgeFile())
	if err != nil {
		t.Fatal(err)
	}

	refused := func(what, config, want string) {
		t.Helper()
		_, err := w.RestartEdge(within(t), config)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
		flow(t, all, 1000)
		if log := eventLog(t, w); !strings.Contains(log, "refused: ") {
			t.Errorf("%s: not in the journal:\n%s", what, log)
		}
		settled(t, w)
	}
	refused("a file that does not parse", "site: [", "edge.yaml")
	refused("a file with an error", strings.Replace(string(good), "site: ", "no-such-key: 1\nsite: ", 1), "no-such-key")
	if err := os.WriteFile(w.EdgeFile(), good, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"start", "ready", "state", "version", "cannot", "hang", "garbage", "can", "mute"} {
		replace(t, p, fmt.Appendf(nil, "#!/bin/sh\nexport %s=%s\nexec %q\n", impostorStep, step, self))
		refused(step, "", map[string]string{
			"start": "ended before", "ready": "ended before", "state": "ended before", "version": "version 99", "cannot": "no room here",
			"hang": "timeout", "garbage": "unknown field", "can": "ended before", "mute": "timeout",
		}[step])
	}
	replace(t, p, []byte("no program"))
	refused("no program", "", "start the new process")

	// And then one that succeeds: an upgrade.
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, p, data)
	if _, err := w.RestartEdge(within(t), ""); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	flow(t, all, 2000)
	for i, s := range all {
		if l := s.Stop(); l.Out+l.Back != 0 || l.Changes > 0 {
			t.Errorf("stream %d: %s, %d changes of the source", i, l, l.Changes)
		}
	}
	unchanged(t, w, before)
}

// TestRestartTakesAChangedFile: what a reload would do to a session a restart does, and no more.
func TestRestartTakesAChangedFile(t *testing.T) {
	w := raise(t, withoutGracefulRestart)
	edge(t, w)
	before := since(t, w)
	data, err := os.ReadFile(w.EdgeFile())
	if err != nil {
		t.Fatal(err)
	}
	// ISP A is told another path; to the circuit's first router no graceful restart is offered any more.
	text := strings.Replace(string(data), "  isp-a:\n", "  isp-a:\n    prepend: 2\n", 1)
	hold := "neighbor: \"192.0.2.2\"\n"
	if !strings.Contains(text, hold) {
		t.Fatalf("no %q in %s", hold, text)
	}
	text = strings.Replace(text, hold, hold+"        graceful-restart: false\n", 1)
	if _, err := w.RestartEdge(within(t), text); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	after := since(t, w)
	for k, at := range before {
		changed := strings.HasPrefix(k, "circuit/primary ")
		if after[k].Equal(at) == changed {
			t.Errorf("%s is up since %v, was since %v", k, after[k], at)
		}
	}
	if log := eventLog(t, w); !strings.Contains(log, "took over") {
		t.Error(log)
	}
	var paths []v1.Path
	if err := w.Show(within(t), "paths", &paths); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if p.Name == "isp-a" && p.Prepend != 2 {
			t.Errorf("%+v", p)
		}
	}
}
