package session

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/bfd/packet"
	"bothways/internal/kernel/netnstest"
)

// The two ends of the wire.
const (
	our4   = "192.0.2.1"
	their4 = "192.0.2.2"
	our6   = "2001:db8::1"
	their6 = "2001:db8::2"
	ms     = time.Millisecond
)

// world is two network namespaces with a wire between them.
type world struct {
	t            *testing.T
	ours, theirs string // names of the namespaces
	dir          string // of a daemon's files
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	netnstest.Need(t, "nft", "nftables")
	names := netnstest.Add(t, 2)
	w := &world{t: t, ours: names[0], theirs: names[1]}
	dir, err := os.MkdirTemp("", "bfd") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o777) // FRR gives up root
	w.dir = dir
	t.Cleanup(func() { os.RemoveAll(dir) })
	w.wire()
	for _, ns := range []string{w.ours, w.theirs} {
		w.nft(ns, "add table inet loss; add chain inet loss in { type filter hook input priority 0; }")
	}
	return w
}

// wire makes the wire and gives both ends their addresses.
func (w *world) wire() {
	w.run("ip", "-n", w.ours, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", w.theirs)
	for _, side := range []struct{ ns, a4, a6 string }{{w.ours, our4, our6}, {w.theirs, their4, their6}} {
		w.run("ip", "-n", side.ns, "addr", "add", side.a4+"/30", "dev", "wire")
		w.run("ip", "-n", side.ns, "addr", "add", side.a6+"/64", "dev", "wire", "nodad")
		w.run("ip", "-n", side.ns, "link", "set", "wire", "up")
	}
}

func (w *world) run(args ...string) string {
	w.t.Helper()
	return netnstest.Run(w.t, args...)
}

func (w *world) nft(ns, script string) {
	w.t.Helper()
	w.run("ip", "netns", "exec", ns, "nft", script)
}

// silence drops BFD in both directions, without a word to anybody; it returns when that was done.
func (w *world) silence() time.Time {
	w.t.Helper()
	for _, ns := range []string{w.theirs, w.ours} {
		w.nft(ns, "add rule inet loss in udp dport 3784 drop")
	}
	return time.Now()
}

func (w *world) heal() {
	w.t.Helper()
	for _, ns := range []string{w.ours, w.theirs} {
		w.nft(ns, "flush chain inet loss in")
	}
}

// ask runs a command in the far namespace; it may fail, for the daemon may not be ready.
func (w *world) ask(args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", w.theirs}, args...)...).CombinedOutput()
	return string(out)
}

func (w *world) file(name, content string) string {
	w.t.Helper()
	p := filepath.Join(w.dir, name)
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// daemon starts a program in the far namespace that stays in the foreground.
func (w *world) daemon(args ...string) {
	w.t.Helper()
	netnstest.Start(w.t, w.theirs, args...)
}

// side is one of our speakers.
type side struct {
	*Speaker
	t    *testing.T
	mu   sync.Mutex // guards got
	got  []Event
	stop func()
}

// start runs a speaker in a namespace.
func (w *world) start(ns string, list ...Config) *side {
	w.t.Helper()
	s := &side{t: w.t}
	log := slog.New(slog.NewTextHandler(w.t.Output(), nil)).With("in", ns)
	s.Speaker = New(log, func(e Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, e)
	})
	s.enter = func() error {
		fd, err := unix.Open("/run/netns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Setns(fd, unix.CLONE_NEWNET)
	}
	s.want(list...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	s.stop = func() { cancel(); <-done }
	w.t.Cleanup(s.stop)
	return s
}

func (s *side) want(list ...Config) {
	s.t.Helper()
	if err := s.Set(list); err != nil {
		s.t.Fatal(err)
	}
}

// one is the status of a session; the zero value where there is none.
func (s *side) one(name string) Status {
	for _, st := range s.Status() {
		if st.Name == name {
			return st
		}
	}
	return Status{}
}

func (s *side) events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.got...)
}

// lastDown is the last Down of a session.
func (s *side) lastDown(name string) (Down, bool) {
	all := s.events()
	for i := len(all) - 1; i >= 0; i-- {
		if d, ok := all[i].(Down); ok && d.Name == name {
			return d, true
		}
	}
	return Down{}, false
}

// agreed waits until a session is up with these timers.
func (s *side) agreed(name string, transmit, detection time.Duration) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%s is up every %v, detection time %v", name, transmit, detection), func() (bool, string) {
		st := s.one(name)
		return st.State == packet.Up && st.Transmit == transmit && st.DetectionTime == detection, fmt.Sprintf("%+v", st)
	})
}

// down waits until a session is down, and returns what was told. One that is down and hears its neighbor say the same is in Init.
func (s *side) down(name string) Down {
	s.t.Helper()
	var d Down
	eventually(s.t, name+" is down", func() (bool, string) {
		var ok bool
		d, ok = s.lastDown(name)
		st := s.one(name)
		return ok && (st.State == packet.Init || st.State != packet.Up && !d.At.Before(st.Since)), fmt.Sprintf("%+v", st)
	})
	return d
}

// eventually waits for something that the network has to bring about.
func eventually(t *testing.T, what string, check func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		ok, got := check()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in 90 s; last seen:\n%s", what, got)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// config4 and config6 are our end, their4Config and their6Config the other one.
func config4(interval time.Duration) Config {
	return Config{Name: "isp-a/main", Interface: "wire", Local: addr(our4), Neighbor: addr(their4), Interval: interval, Multiplier: 3}
}

func config6(interval time.Duration) Config {
	return Config{Name: "isp-a/main6", Interface: "wire", Local: addr(our6), Neighbor: addr(their6), Interval: interval, Multiplier: 3}
}

// turned is the far end of a session.
func turned(c Config) Config {
	c.Local, c.Neighbor = c.Neighbor, c.Local
	return c
}
