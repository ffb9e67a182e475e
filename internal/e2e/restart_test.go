package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// streams are 10,000 packets a second each way to a service on the circuit, and as many to the Internet.
func streams(t *testing.T, w *lab.World) []*lab.Stream {
	t.Helper()
	var out []*lab.Stream
	for _, host := range []string{"storage", "registry"} {
		s, err := w.Stream(t.Context(), "client", address(t, w, host, false), 10_000)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	flow(t, out, 2000)
	return out
}

// flow waits until so many more packets came back on each stream.
func flow(t *testing.T, streams []*lab.Stream, n uint64) {
	t.Helper()
	for _, s := range streams {
		before := s.Loss().Returned
		eventually(t, func(context.Context) error {
			if l := s.Loss(); l.Returned < before+n {
				return fmt.Errorf("%s", l)
			}
			return nil
		})
	}
}

func TestKillAndReloadLoseNothing(t *testing.T) {
	w := raise(t, nil)
	edge(t, w)
	all := streams(t, w)
	if err := w.SignalEdge(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	flow(t, all, 10_000)
	for i, s := range all {
		if l := s.Stop(); l.Out+l.Back != 0 {
			t.Errorf("SIGHUP, stream %d: %s", i, l)
		}
	}

	all = streams(t, w)
	if err := w.KillEdge(); err != nil {
		t.Fatal(err)
	}
	flow(t, all, 10_000)
	edge(t, w)
	flow(t, all, 10_000)
	for i, s := range all {
		if l := s.Stop(); l.Out+l.Back != 0 || l.Changes > 0 {
			t.Errorf("kill -9 with neighbors that do graceful restart, stream %d: %s, %d changes of the source", i, l, l.Changes)
		}
	}
	var st v1.Status
	if err := w.Show(within(t), "status", &st); err != nil {
		t.Fatal(err)
	}
	if st.Kernel.Repaired != 0 || st.Kernel.Refused != 0 {
		t.Errorf("after the restart: %+v", st.Kernel)
	}
}

func TestKillWithoutGracefulRestart(t *testing.T) {
	w := raise(t, withoutGracefulRestart)
	edge(t, w)
	all := streams(t, w)
	if err := w.KillEdge(); err != nil {
		t.Fatal(err)
	}
	edge(t, w)
	flow(t, all, 5000)
	for i, s := range all {
		if l := s.Stop(); l.Out != 0 {
			t.Errorf("kill -9 with neighbors without graceful restart, stream %d: %s", i, l)
		}
	}
}

func TestStopLeavesTheKernelForwarding(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edge(t, w)
	before, err := ourTable(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.StopEdge(); err != nil {
		t.Fatal(err)
	}
	after, err := ourTable(w)
	if err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("our table changed at the stop: %s", firstDifference(before, after))
	}
	sessions, err := w.Sessions(within(t), "isp-a")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		if s.Established {
			t.Errorf("isp-a still has a session: %+v", s)
		}
	}
	edge(t, w)
	if again, err := ourTable(w); err != nil || again != before {
		t.Errorf("our table changed by stop and start: %s (%v)", firstDifference(before, again), err)
	}
}

func firstDifference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(la), len(lb)) {
		if la[i] != lb[i] {
			return fmt.Sprintf("%d lines, then %d; line %d was %q and is %q", len(la), len(lb), i+1, la[i], lb[i])
		}
	}
	return fmt.Sprintf("%d lines, then %d", len(la), len(lb))
}

// ourTable is our table as ip prints it.
func ourTable(w *lab.World) (string, error) { return inEdge(w, "ip", "route", "show", "table", "9800") }
