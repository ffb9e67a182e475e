package session

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/kernel/netnstest"
	"bothways/internal/route"
)

// The two ends of the wire. Ours has a four-octet AS on purpose.
const (
	ourAS   = 4200000010
	theirAS = 64601
	our4    = "192.0.2.1"
	their4  = "192.0.2.2"
	our6    = "2001:db8::1"
	their6  = "2001:db8::2"
)

// world is two network namespaces with a wire between them: ours and that of a daemon.
type world struct {
	t           *testing.T
	ours, their string // names of the namespaces
	dir         string // of the daemon's files
}

// newWorld makes a world, or skips the test where the daemon is missing: in CI that is a failure.
func newWorld(t *testing.T, binary, pkg string) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a daemon and namespaces")
	}
	netnstest.Need(t, binary, pkg)
	names := netnstest.Add(t, 2)
	w := &world{t: t, ours: names[0], their: names[1]}
	dir, err := os.MkdirTemp("", "bw") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	w.dir = dir
	t.Cleanup(func() { os.RemoveAll(dir) })
	w.run("ip", "-n", w.ours, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", w.their)
	for _, side := range []struct{ ns, a4, a6 string }{{w.ours, our4, our6}, {w.their, their4, their6}} {
		w.run("ip", "-n", side.ns, "addr", "add", side.a4+"/30", "dev", "wire")
		w.run("ip", "-n", side.ns, "addr", "add", side.a6+"/64", "dev", "wire", "nodad")
		w.run("ip", "-n", side.ns, "link", "set", "wire", "up")
	}
	return w
}

func (w *world) run(args ...string) string {
	w.t.Helper()
	return netnstest.Run(w.t, args...)
}

// ask runs a command in the daemon's namespace; it may fail, for the daemon may not be ready.
func (w *world) ask(args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", w.their}, args...)...).CombinedOutput()
	return string(out)
}

// file writes a file for the daemon and returns its path.
func (w *world) file(name, content string) string {
	w.t.Helper()
	p := filepath.Join(w.dir, name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// daemon starts a program in the daemon's namespace that stays in the foreground.
func (w *world) daemon(args ...string) *netnstest.Daemon {
	w.t.Helper()
	return netnstest.Start(w.t, w.their, args...)
}

// side is our end of one session.
type side struct {
	*Session
	*recorder
	listener *Listener
	cancel   context.CancelFunc
	ended    chan struct{}
}

// all is what was told so far.
func (s *side) all() []Event {
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	return append([]Event(nil), s.events...)
}

// stop ends our end as a crash would.
func (s *side) stop() {
	s.cancel()
	<-s.ended
}

// start runs a session with a listener of its own, in our namespace.
func (w *world) start(cfg Config) *side { return w.startIn(w.ours, cfg) }

func (w *world) startIn(ns string, cfg Config) *side {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	rec := &recorder{}
	s := New(cfg, rec, log)
	s.dial = func(ctx context.Context, cfg *Config) (nc net.Conn, err error) {
		netnstest.Within(ns, func() { nc, err = dialTCP(ctx, cfg) })
		return nc, err
	}
	l := NewListener(0, log)
	l.Add(s)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { netnstest.Within(ns, func() { l.Run(ctx) }) })
	wg.Go(func() { s.Run(ctx) })
	out := &side{Session: s, recorder: rec, listener: l, cancel: cancel, ended: make(chan struct{})}
	go func() { wg.Wait(); close(out.ended) }()
	w.t.Cleanup(out.stop)
	return out
}

// our4Config is our end over IPv4 with the IPv4 family; our6Config the same for IPv6.
func our4Config() Config {
	return Config{
		Params: fsm.Params{LocalAS: ourAS, NeighborAS: theirAS, RouterID: netip.MustParseAddr("203.0.113.1"),
			Families: []route.Family{route.IPv4}, Hold: 30 * time.Second, Extended: true,
			Graceful: fsm.Graceful{Enabled: true, RestartTime: 60 * time.Second}},
		Name: "isp-a/main", Local: netip.MustParseAddr(our4), Neighbor: netip.MustParseAddr(their4),
	}
}

func our6Config() Config {
	c := our4Config()
	c.Name, c.Families = "isp-a/main6", []route.Family{route.IPv6}
	c.Local, c.Neighbor = netip.MustParseAddr(our6), netip.MustParseAddr(their6)
	return c
}

// eventually waits for something that the network has to bring about.
func eventually(t *testing.T, what string, limit time.Duration, check func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		ok, got := check()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in %v; last seen:\n%s", what, limit, got)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// up waits until the session stands.
func (s *side) up(t *testing.T) {
	t.Helper()
	eventually(t, s.Config().Name+" is up", 90*time.Second, func() (bool, string) {
		st := s.Status()
		return st.Phase == fsm.Established, fmt.Sprintf("%+v", st)
	})
}

// hears waits until every string is in the events, as text.
func (s *side) hears(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, s.Config().Name+" hears "+strings.Join(want, ", "), 90*time.Second, func() (bool, string) {
		got := text(s.all())
		for _, w := range want {
			if !strings.Contains(got, w) {
				return false, got
			}
		}
		return true, got
	})
}

// text prints events with all that tests look at.
func text(events []Event) string {
	var b strings.Builder
	for _, e := range events {
		switch e := e.(type) {
		case Updates:
			for _, u := range e.Updates {
				for _, p := range u.Withdrawn {
					fmt.Fprintf(&b, "-%s\n", p)
				}
				for _, p := range u.Announced {
					fmt.Fprintf(&b, "+%s path [%s] via %s med %d communities %v large %v\n", p, u.Attrs.Path, u.Attrs.NextHop, u.Attrs.MED, u.Attrs.Communities, u.Attrs.Large)
				}
			}
		case Down:
			fmt.Fprintf(&b, "down: %s stale %v\n", e.Reason, e.Stale)
		default:
			fmt.Fprintf(&b, "%s\n", kinds([]Event{e}))
		}
	}
	return b.String()
}

// says waits until a command of the daemon prints every string, and none that begins with "!".
func (w *world) says(want []string, args ...string) {
	w.t.Helper()
	eventually(w.t, strings.Join(args, " ")+" says "+strings.Join(want, ", "), 90*time.Second, func() (bool, string) {
		got := w.ask(args...)
		for _, s := range want {
			if no, ok := strings.CutPrefix(s, "!"); ok && strings.Contains(got, no) || !ok && !strings.Contains(got, s) {
				return false, got
			}
		}
		return true, got
	})
}

// ourRoutes is what we announce in every test: plain, and with all that an announcement can have.
func ourRoutes() map[route.Family][]route.Announcement {
	full := func(p string) route.Announcement {
		return route.Announcement{Prefix: netip.MustParsePrefix(p), Prepend: 2,
			Communities: []route.Community{64601<<16 | 70}, Large: []route.LargeCommunity{{64601, 1, 2}}}
	}
	return map[route.Family][]route.Announcement{
		route.IPv4: {{Prefix: netip.MustParsePrefix("198.51.100.0/24")}, full("203.0.113.0/24")},
		route.IPv6: {{Prefix: netip.MustParsePrefix("2001:db8:a::/48")}, full("2001:db8:b::/48")},
	}
}

// paths as daemons print them.
const (
	onePath   = "4200000010"
	threePath = "4200000010 4200000010 4200000010"
)
