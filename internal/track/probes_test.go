package track

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bothways/internal/route"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// probed drives a Probes: each round is a second, and has a letter for each target: "." answers, "x" does not, "s"
// answers slowly, " " has no result.
type probed struct {
	t *testing.T
	Probes
	now time.Time
}

func newProbed(t *testing.T, p ProbeParams, targets int) *probed {
	var names []string
	for i := range targets {
		names = append(names, string(rune('a'+i)))
	}
	return &probed{t, NewProbes(p, names), start}
}

func (d *probed) round(s string) (changes string) {
	for i, c := range s {
		r := ProbeResult{Target: d.targets[i].Name, OK: c != 'x', RTT: 10 * time.Millisecond, Why: "no answer"}
		switch c {
		case ' ':
			continue
		case 's':
			r.RTT = 500 * time.Millisecond
		}
		before := fmt.Sprintf("%+v", d.Probes)
		next, changed := d.Observe(d.now, r)
		if before != fmt.Sprintf("%+v", d.Probes) {
			d.t.Fatal("Observe changes its receiver")
		}
		d.Probes = next
		if changed {
			changes += map[bool]string{true: "down ", false: "up "}[next.Down]
		}
	}
	d.now = d.now.Add(time.Second)
	return strings.TrimSpace(changes)
}

// rounds gives several, and returns in which of them, from 1, something changed.
func (d *probed) rounds(list ...string) (changes []string) {
	for i, s := range list {
		if c := d.round(s); c != "" {
			changes = append(changes, fmt.Sprintf("%d %s", i+1, c))
		}
	}
	return changes
}

func times(n int, s ...string) []string { return slices.Repeat(s, n) }

func TestProbes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		p       ProbeParams
		targets int
		rounds  []string
		want    []string
	}{
		{"at once", ProbeParams{}, 1, []string{".", "x", ".", "x"}, []string{"2 down", "3 up", "4 down"}},
		{"down-after", ProbeParams{DownAfter: 3}, 1, []string{"x", "x", ".", "x", "x", "x"}, []string{"6 down"}},
		{"up-after", ProbeParams{UpAfter: 3}, 1, []string{"x", ".", ".", "x", ".", ".", "."}, []string{"1 down", "7 up"}},
		{"one of three", ProbeParams{}, 3, times(5, "x.."), nil},
		{"two of three, by majority", ProbeParams{}, 3, []string{"x..", "xx.", ".x."}, []string{"2 down", "3 up"}},
		{"quorum 1: all must be bad", ProbeParams{Quorum: 1}, 3, []string{"xx.", "xxx", "xx."}, []string{"2 down", "3 up"}},
		{"quorum 1 of one", ProbeParams{Quorum: 1}, 1, []string{"x"}, []string{"1 down"}},
		{"quorum of all: one alone is not enough", ProbeParams{Quorum: 3}, 3, []string{"x..", "x..", "xx.", "x.."}, []string{"3 down", "4 up"}},
		{"two targets: one alone is not enough", ProbeParams{}, 2, []string{"x.", "x.", "xx", "x."}, []string{"3 down", "4 up"}},
		{"quorum beyond the one target of a family", ProbeParams{Quorum: 2}, 1, []string{"x", "x"}, nil},
		{"quorum beyond the targets", ProbeParams{Quorum: 9}, 2, []string{"x.", "xx", "x."}, []string{"2 down", "3 up"}},
		{"no result is no evidence", ProbeParams{}, 3, []string{"x  ", "x  ", "xx "}, []string{"3 down"}},
		{"up-delay", ProbeParams{UpDelay: 3 * time.Second}, 1, []string{"x", ".", ".", "x", ".", ".", ".", "."}, []string{"1 down", "8 up"}},
		{"up-delay is about the quorum", ProbeParams{UpDelay: 3 * time.Second}, 3, []string{"xxx", "..x", "...", "x..", "x.."}, []string{"1 down", "5 up"}},
		{"loss: not before the window is full", ProbeParams{Window: 4, MaxLoss: 25, DownAfter: 9}, 1, []string{"x", "x", "x"}, nil},
		{"loss at the limit", ProbeParams{Window: 4, MaxLoss: 25, DownAfter: 2}, 1, times(5, "x", ".", ".", "."), nil},
		{"loss over the limit", ProbeParams{Window: 4, MaxLoss: 25, DownAfter: 2, UpAfter: 2}, 1,
			[]string{"x", ".", "x", ".", ".", ".", ".", "."}, []string{"4 down", "6 up"}},
		{"latency", ProbeParams{Window: 2, MaxLatency: 100 * time.Millisecond, DownAfter: 2}, 1,
			[]string{".", "s", "s", "s", ".", "."}, []string{"3 down", "6 up"}},
		{"latency of the answers only", ProbeParams{Window: 2, MaxLatency: 100 * time.Millisecond, DownAfter: 3}, 1,
			[]string{".", "x", "x", "."}, nil},
		{"window without limits", ProbeParams{Window: 4, DownAfter: 9}, 1, times(3, "x", "s"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newProbed(t, tt.p, tt.targets)
			if got := d.rounds(tt.rounds...); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q\n%v", got, tt.want, d.Targets())
			}
		})
	}
}

func TestProbesBackOff(t *testing.T) {
	p := ProbeParams{UpDelay: 2 * time.Second, FlapWindow: 60 * time.Second, MaxUpDelay: 10 * time.Second}
	d := newProbed(t, p, 1)
	// outage is a down and how long it is good before it is up.
	outage := func() time.Duration {
		t.Helper()
		if got := d.round("x"); got != "down" {
			t.Fatal("not down")
		}
		from := d.now
		for range 100 {
			if d.round(".") == "up" {
				return d.now.Add(-time.Second).Sub(from)
			}
		}
		t.Fatal("not up")
		return 0
	}
	d.rounds(times(5, ".")...)
	for i, want := range []time.Duration{2, 4, 8, 10, 10, 10} {
		want *= time.Second
		if i > 0 {
			d.rounds(times(10, ".")...)
		}
		if got := outage(); got != want || d.UpDelay(d.now) != want {
			t.Errorf("outage %d: up after %v, shown %v, want %v", i, got, d.UpDelay(d.now), want)
		}
	}
	// Stable: it halves with each window, and what is shown says so before the next outage.
	for _, want := range []time.Duration{8, 4, 2, 2} {
		d.rounds(times(60, ".")...)
		if got := d.UpDelay(d.now); got != want*time.Second {
			t.Errorf("stable: %v, want %v s", got, int(want))
		}
	}
	if got := outage(); got != 2*time.Second {
		t.Errorf("after stability: %v", got)
	}
}

func TestProbesBackOffWithoutDelay(t *testing.T) {
	d := newProbed(t, ProbeParams{FlapWindow: time.Minute, MaxUpDelay: 4 * time.Second}, 1)
	got := d.rounds("x", ".", "x", ".", ".", ".", "x", ".", ".", ".", ".", ".")
	if want := []string{"1 down", "2 up", "3 down", "6 up", "7 down", "12 up"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestProbesSet(t *testing.T) {
	d := newProbed(t, ProbeParams{}, 3)
	d.rounds("xx.", "xx.")
	d.Probes = d.Set(ProbeParams{DownAfter: 2}, []string{"b", "d"})
	targets := d.Targets()
	if !d.Down || targets[0].Up() || targets[1].Seen {
		t.Errorf("%v %v", d.Probes, targets)
	}
	if next, changed := d.Observe(d.now, ProbeResult{Target: "a"}); changed || next.Good() != 1 {
		t.Error("a target that is gone counts")
	}
	if got := d.round(".."); got != "up" {
		t.Errorf("%q", got)
	}
	if s := d.Set(ProbeParams{}, nil); !s.Up() || s.String() != "none" {
		t.Errorf("without targets: %v", s)
	}
}

// TestWindowThatGoes: what is shown of a window is of one that is measured.
func TestWindowThatGoes(t *testing.T) {
	d := newProbed(t, ProbeParams{Window: 4}, 1)
	d.rounds("x", ".", "x", "s")
	if a := d.Targets()[0]; a.Loss != 50 || a.Latency != 255*time.Millisecond {
		t.Fatalf("%d%% lost, %v", a.Loss, a.Latency)
	}
	d.Probes = d.Set(ProbeParams{}, []string{"a"})
	d.rounds(".", ".", ".", ".", ".")
	if a := d.Targets()[0]; a.Loss != 0 || a.Latency != 0 {
		t.Errorf("without a window: %d%% lost, %v", a.Loss, a.Latency)
	}
	d.Probes = d.Set(ProbeParams{Window: 4}, []string{"a"})
	d.rounds(".")
	if a := d.Targets()[0]; a.Loss != 0 || a.Latency != 0 {
		t.Errorf("with a new window that is not full: %d%% lost, %v", a.Loss, a.Latency)
	}
}

func TestProbesText(t *testing.T) {
	d := newProbed(t, ProbeParams{UpDelay: 30 * time.Second, Window: 2, MaxLatency: 100 * time.Millisecond}, 2)
	for _, step := range []struct{ round, want, first string }{
		{"", "unknown", "a unknown"},
		{"..", "up (2 of 2 targets good, quorum 2)", "a up (answers in 10ms)"},
		{"x.", "up (2 of 2 targets good, quorum 2)", "a down (no answer)"},
		{"xx", "down (0 of 2 targets good, quorum 2: a no answer, b no answer)", "a down (no answer)"},
		{"..", "down (2 of 2 targets good, quorum 2, up at 00:00:34)", "a up (answers in 10ms)"},
		{"ss", "down (0 of 2 targets good, quorum 2: a no answer, b no answer)", "a down (takes 255ms, at most 100ms)"},
	} {
		d.round(step.round)
		if got := d.String(); got != step.want {
			t.Errorf("%q: %s\nwant %s", step.round, got, step.want)
		}
		if got := d.Targets()[0].String(); got != step.first {
			t.Errorf("%q: %s\nwant %s", step.round, got, step.first)
		}
	}
}

func TestLinkUsable(t *testing.T) {
	var l Link
	if !l.Usable(route.IPv4) || !l.Usable(route.IPv6) {
		t.Fatal("without evidence it is down")
	}
	*l.BFD(route.IPv4), _ = l.BFD(route.IPv4).Observe(start, false, "nothing from the neighbor", Immediate())
	if l.Usable(route.IPv4) || !l.Usable(route.IPv6) {
		t.Error("BFD of a family does not decide it")
	}
	l = Link{}
	*l.Probe(route.IPv6), _ = NewProbes(ProbeParams{}, []string{"a"}).Observe(start, ProbeResult{Target: "a"})
	if !l.Usable(route.IPv4) || l.Usable(route.IPv6) {
		t.Error("probes of a family do not decide it")
	}
}

// TestProbesPromises: whatever happens, a link does not go down while a quorum of its targets is good, or by one target
// where the quorum is more; it is not held down for longer than the bound; and what is shown is what is done.
func TestProbesPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "targets")
		p := ProbeParams{
			Quorum: rapid.IntRange(0, 6).Draw(t, "quorum"), DownAfter: rapid.IntRange(0, 3).Draw(t, "down-after"),
			UpAfter: rapid.IntRange(0, 3).Draw(t, "up-after"), Window: rapid.IntRange(0, 4).Draw(t, "window"),
			MaxLoss: rapid.IntRange(0, 60).Draw(t, "loss"), UpDelay: time.Duration(rapid.IntRange(0, 5).Draw(t, "delay")) * time.Second,
			FlapWindow: time.Duration(rapid.IntRange(0, 20).Draw(t, "flap")) * time.Second,
			MaxUpDelay: time.Duration(rapid.IntRange(0, 12).Draw(t, "bound")) * time.Second,
		}
		var names []string
		for i := range n {
			names = append(names, string(rune('a'+i)))
		}
		s, now, last := NewProbes(p, names), start, map[string]int{}
		limit := max(p.UpDelay, p.MaxUpDelay)
		metFrom := time.Time{}
		for range rapid.IntRange(1, 80).Draw(t, "results") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			r := ProbeResult{Target: rapid.SampledFrom(names).Draw(t, "target"), OK: rapid.Bool().Draw(t, "ok")}
			if last[r.Target]++; r.OK {
				last[r.Target] = 0
			}
			shown, upAt, was := s.UpDelay(now), s.UpAt(), s
			var changed bool
			s, changed = s.Observe(now, r)
			good := s.Good()
			if changed != (s.Down != was.Down) {
				t.Fatal("changed says something else")
			}
			enough := good >= s.Quorum() || max(s.Quorum(), p.Quorum) > 1 && n-good <= 1
			if changed && s.Down && enough {
				t.Fatalf("down with %d of %d good, quorum %d", good, n, s.Quorum())
			}
			if !s.Down && !enough {
				t.Fatalf("up with %d of %d good, quorum %d", good, n, s.Quorum())
			}
			if d := s.UpDelay(now); d < p.UpDelay || d > limit {
				t.Fatalf("up delay %v, configured %v to %v", d, p.UpDelay, limit)
			}
			switch {
			case !enough:
				metFrom = time.Time{}
			case metFrom.IsZero():
				metFrom = now
			}
			if s.Down && enough && now.Sub(metFrom) >= limit {
				t.Fatalf("good for %v and still down", now.Sub(metFrom))
			}
			if changed && !s.Down && now.Sub(metFrom) < shown {
				t.Fatalf("up after %v, shown %v", now.Sub(metFrom), shown)
			}
			if changed && !s.Down && !upAt.IsZero() && now.Before(upAt) {
				t.Fatalf("up at %v, shown %v", now, upAt)
			}
		}
	})
}
