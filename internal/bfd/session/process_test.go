package session

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bothways/internal/bfd/packet"
)

// childArgument has the test binary be the child of a Process.
const childArgument = "bfd-child"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childArgument {
		if err := Serve(os.NewFile(3, "bfd"), slog.New(slog.DiscardHandler)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// apart is one of our processes.
type apart struct {
	*Process
	mu   sync.Mutex // guards got
	got  []Event
	stop func()
}

func (w *world) startProcess(ns string, list ...Config) *apart {
	w.t.Helper()
	p := &apart{}
	log := slog.New(slog.NewTextHandler(w.t.Output(), nil)).With("in", ns)
	p.Process = NewProcess(log, func(e Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.got = append(p.got, e)
	}, "ip", "netns", "exec", ns, os.Args[0], childArgument)
	if err := p.Set(list); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	p.stop = func() { cancel(); <-done }
	w.t.Cleanup(p.stop)
	return p
}

func (p *apart) agreed(t *testing.T, name string, transmit, detection time.Duration) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is up every %v, detection time %v", name, transmit, detection), func() (bool, string) {
		for _, st := range p.Status() {
			if st.Name == name {
				return st.State == packet.Up && st.Transmit == transmit && st.DetectionTime == detection, fmt.Sprintf("%+v", st)
			}
		}
		return false, "no such session"
	})
}

// TestProcess: a process of its own does what a Speaker does.
func TestProcess(t *testing.T) {
	w := newWorld(t)
	p := w.startProcess(w.ours, config4(50*ms), config6(50*ms))
	b := w.start(w.theirs, turned(config4(50*ms)), turned(config6(50*ms)))
	p.agreed(t, "isp-a/main", 50*ms, 150*ms)
	p.agreed(t, "isp-a/main6", 50*ms, 150*ms)
	if err := p.Set([]Config{{}}); err == nil {
		t.Error("a wrong configuration is taken")
	}
	if err := p.Set([]Config{config4(100 * ms)}); err != nil {
		t.Fatal(err)
	}
	p.agreed(t, "isp-a/main", 100*ms, 300*ms)
	if d := b.down("isp-a/main6"); !d.Admin {
		t.Errorf("%+v", d)
	}
	last := func(want func(Event) bool) {
		t.Helper()
		eventually(t, "event", func() (bool, string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.got) > 0 && want(p.got[len(p.got)-1]), fmt.Sprintf("%+v", p.got)
		})
	}
	w.silence()
	last(func(e Event) bool {
		d, ok := e.(Down)
		return ok && !d.Admin && d.Detection == 300*ms && d.At.Sub(d.Due) < 50*ms
	})
	w.heal()
	p.agreed(t, "isp-a/main", 100*ms, 300*ms)

	// Killed: no statement until it is up again.
	pid, err := strconv.Atoi(strings.TrimSpace(w.run("ip", "netns", "pids", w.ours)))
	if err != nil {
		t.Fatal(err)
	}
	child, _ := os.FindProcess(pid)
	child.Kill()
	last(func(e Event) bool { d, ok := e.(Down); return ok && d.Admin && d.Reason == "the bfd process ended" })
	last(func(e Event) bool { _, ok := e.(Up); return ok })
	p.agreed(t, "isp-a/main", 100*ms, 300*ms)

	// What was Set last is carried out at the end, too.
	p.Set(nil)
	p.stop()
	if d := b.down("isp-a/main"); !d.Admin {
		t.Errorf("%+v", d)
	}
	if pids := w.run("ip", "netns", "pids", w.ours); pids != "" {
		t.Errorf("left behind: %s", pids)
	}
}

// TestProcessEnds: a child does not outlive its parent, and says nothing when that goes.
func TestProcessEnds(t *testing.T) {
	w := newWorld(t)
	p := w.startProcess(w.ours, config4(100*ms))
	b := w.start(w.theirs, turned(config4(100*ms)))
	p.agreed(t, "isp-a/main", 100*ms, 300*ms)
	b.agreed("isp-a/main", 100*ms, 300*ms)
	p.stop()
	if d := b.down("isp-a/main"); d.Admin {
		t.Errorf("%+v", d)
	}
}

// TestProcessBusy: nothing flaps while this process has far more to do than there are processors, also at 10 ms.
func TestProcessBusy(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector is what is slow")
	}
	for _, interval := range []time.Duration{50 * ms, 10 * ms} {
		t.Run(interval.String(), func(t *testing.T) {
			w := newWorld(t)
			a := w.startProcess(w.ours, config4(interval), config6(interval))
			b := w.startProcess(w.theirs, turned(config4(interval)), turned(config6(interval)))
			for _, n := range []string{"isp-a/main", "isp-a/main6"} {
				a.agreed(t, n, interval, 3*interval)
				b.agreed(t, n, interval, 3*interval)
			}
			burn(t, 8*runtime.GOMAXPROCS(0))
			time.Sleep(5 * time.Second)
			for _, p := range []*apart{a, b} {
				for _, st := range p.Status() {
					// At 10 ms, what other processes do to the kernel's own delivery of packets counts too.
					if st.Flaps > 0 && interval > 10*ms || st.State != packet.Up {
						t.Errorf("%+v", st)
					}
				}
				late := p.Stats().Latest
				t.Logf("latest packet: %v late", late)
				if late > 25*ms {
					t.Errorf("%v late", late)
				}
			}
		})
	}
}

// TestProcessCannotStart: it is tried again, and ends with ctx.
func TestProcessCannotStart(t *testing.T) {
	p := NewProcess(nil, nil, "/nonexistent")
	ctx, cancel := context.WithTimeout(context.Background(), 50*ms)
	defer cancel()
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
}
