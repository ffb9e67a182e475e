package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/lab"
)

// manager is a service manager that does nothing but keep files for a daemon, as systemd does (sd_notify(3), FDSTORE).
type manager struct {
	t    *testing.T
	path string

	mu   sync.Mutex // guards kept: the test reads what comes by the socket
	kept []lab.KeptFile
}

func newManager(t *testing.T, dir string) *manager {
	t.Helper()
	m := &manager{t: t, path: filepath.Join(dir, "notify")}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			buf, oob := make([]byte, 1<<16), make([]byte, 1<<12)
			n, on, _, _, err := c.ReadMsgUnix(buf, oob)
			if err != nil {
				return
			}
			m.take(string(buf[:n]), oob[:on])
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
		for _, f := range m.kept {
			f.File.Close()
		}
	})
	return m
}

func (m *manager) take(text string, oob []byte) {
	var files []*os.File
	if messages, err := unix.ParseSocketControlMessage(oob); err == nil {
		for i := range messages {
			fds, _ := unix.ParseUnixRights(&messages[i])
			for _, fd := range fds {
				unix.CloseOnExec(fd)
				files = append(files, os.NewFile(uintptr(fd), "kept"))
			}
		}
	}
	name := ""
	for _, line := range strings.Split(text, "\n") {
		if v, ok := strings.CutPrefix(line, "FDNAME="); ok {
			name = v
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if strings.HasPrefix(text, "FDSTOREREMOVE=1") {
		m.kept = slices.DeleteFunc(m.kept, func(f lab.KeptFile) bool {
			if f.Name == name {
				f.File.Close()
			}
			return f.Name == name
		})
	}
	for _, f := range files {
		m.kept = append(m.kept, lab.KeptFile{Name: name, File: f})
	}
}

func (m *manager) names() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.kept {
		out = append(out, f.Name)
	}
	slices.Sort(out)
	return out
}

// start starts the edge with what is kept.
func (m *manager) start(w *lab.World, config string) {
	m.t.Helper()
	m.mu.Lock()
	given := slices.Clone(m.kept)
	m.mu.Unlock()
	slices.Reverse(given) // systemd gives them back in no order, those of one name too
	if err := w.StartEdge(within(m.t), lab.EdgeOptions{Binary: binary, Config: config, Kept: given, Env: []string{"NOTIFY_SOCKET=" + m.path}}); err != nil {
		m.t.Fatal(err)
	}
}

// TestCrashIsNotNoticed kills the edge again and again, with a service manager that keeps its files: neighbors that keep nothing
// of one that goes see no session end, no BFD session either, and no packet is lost.
func TestCrashIsNotNoticed(t *testing.T) {
	need(t, "bird", "bird2")
	w := raise(t, func(d *worldOf) {
		withoutGracefulRestart(d)
		d.Router("isp-a").Edge = map[string]string{"bfd": unhurried}
	})
	birdSpeaksBFD(t, w, 300*time.Millisecond, 5)
	m := newManager(t, w.Dir)
	m.start(w, "")
	settled(t, w)
	trackIs(t, w, "isp-a/main", "bfd", "up")
	before, bfdUp := since(t, w), birdBFDSince(t, w)
	all := streams(t, w)
	for i := range 3 {
		began := time.Now()
		if err := w.KillEdge(); err != nil {
			t.Fatal(err)
		}
		m.start(w, "")
		t.Logf("crash %d: answers again after %s", i, time.Since(began).Round(time.Millisecond))
		trackIs(t, w, "isp-a/main", "bfd", "up")
		settledOrDrained(t, w)
		settled(t, w)
		flow(t, all, 5000)
		unchanged(t, w, before)
	}
	for i, s := range all {
		if l := s.Stop(); l.Out+l.Back != 0 || l.Changes > 0 {
			t.Errorf("stream %d: %s, %d changes of the source", i, l, l.Changes)
		}
	}
	sameTimes(t, bfdUp, birdBFDSince(t, w))
	log := eventLog(t, w)
	if !strings.Contains(log, "taken over") || strings.Contains(log, "down") {
		t.Errorf("events:\n%s", log)
	}
	// An orderly restart after that, and a crash after it.
	if _, err := w.RestartEdge(within(t), ""); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	unchanged(t, w, before)
	if err := w.KillEdge(); err != nil {
		t.Fatal(err)
	}
	m.start(w, "")
	settled(t, w)
	unchanged(t, w, before)
	sameTimes(t, bfdUp, birdBFDSince(t, w))
	t.Logf("kept: %q", m.names())
	// What has ended is not kept.
	if err := w.StopEdge(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) error {
		for _, n := range m.names() {
			if !strings.HasPrefix(n, "listen ") {
				return fmt.Errorf("kept after the end: %q", m.names())
			}
		}
		return nil
	})
}

// TestCrashAsBIRDAndFRRSeeIt kills the edge under the eyes of BIRD, with a key and BFD, and of FRR, with TTL security.
func TestCrashAsBIRDAndFRRSeeIt(t *testing.T) {
	o := raiseOthers(t)
	m := newManager(t, o.w.Dir)
	m.start(o.w, "")
	o.remember()
	for range 3 {
		if err := o.w.KillEdge(); err != nil {
			t.Fatal(err)
		}
		m.start(o.w, "")
		o.standing()
	}
	o.unchanged()
}
