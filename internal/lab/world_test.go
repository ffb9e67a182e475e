package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"bothways/internal/lab/netns"
	"bothways/internal/lab/world"
)

func hopTo(iface string, a netip.Addr) netns.Hop { return netns.Hop{Interface: iface, Gateway: a} }

func TestServicesSayWhatTheySee(t *testing.T) {
	t.Parallel()
	w := raise(t, public())
	standIn(t, w)
	ctx := within(t, patience)
	for _, v6 := range []bool{false, true} {
		want := Answer{Host: "storage", SeenAs: address(t, w, "client", v6), Via: "circuit/primary"}
		to := address(t, w, "storage", v6)
		for name, ask := range map[string]func(context.Context, string, netip.Addr) (Answer, error){"http": w.Ask, "udp": w.AskUDP, "ping": w.Ping} {
			if got, err := ask(ctx, "client", to); err != nil || got != want {
				t.Errorf("%s %s: %+v, %v; want %+v", name, to, got, err, want)
			}
		}
		c, err := w.Connect(ctx, "client", to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 2 {
			if got, err := c.Ask(time.Second); err != nil || got != want {
				t.Errorf("line %s: %+v, %v; want %+v", to, got, err, want)
			}
		}
	}
}

// The Internet hears nothing of what is announced on the circuit only; the cloud answers by the circuit while it is
// announced there, and not at all when it is nowhere.
func TestFarSideRoutesBackByWhatIsAnnounced(t *testing.T) {
	t.Parallel()
	w := raise(t, public())
	standIn(t, w)
	ctx := within(t, patience)
	to := address(t, w, "storage", false)
	for _, r := range []string{"circuit/primary", "circuit/secondary"} {
		if err := w.Fail(ctx, "session:"+w.Description.Router(r).Link, false); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, func() error {
			if l := w.Learned(r); len(l) > 0 {
				return fmt.Errorf("%s still has %v", r, l)
			}
			return nil
		})
	}
	// isp-a has the prefix from the stand-in too: the cloud answers by it, though the requests come by the circuit.
	if a, err := w.Ask(ctx, "client", to); err != nil || a.Via != "circuit/primary" {
		t.Errorf("with isp-a as the way back: %+v, %v", a, err)
	}
	if err := w.Fail(ctx, "session:isp-a/main", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if a, err := w.AskUDP(short, "client", to); err == nil {
			return fmt.Errorf("still answered: %+v", a)
		}
		return nil
	})
	if err := w.HealAll(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := w.AskUDP(short, "client", to)
		all, _ := w.Sessions(t.Context(), "isp-a")
		if err != nil {
			return fmt.Errorf("%w; primary learned %v, isp-a %v, sessions %+v", err, w.Learned("circuit/primary"), w.Learned("isp-a"), all)
		}
		return nil
	})
}

func TestForeignSourcesAreRefused(t *testing.T) {
	t.Parallel()
	d := public()
	d.Site.Addresses = []netip.Prefix{netip.MustParsePrefix("10.20.0.1/16"), netip.MustParsePrefix("fd20::1/64")}
	d.Site.Hosts = world.Default().Site.Hosts
	w := raise(t, d)
	standIn(t, w)
	for _, v6 := range []bool{false, true} {
		ctx := within(t, 500*time.Millisecond)
		before, err := w.Refused("circuit/primary")
		if err != nil {
			t.Fatal(err)
		}
		if a, err := w.AskUDP(ctx, "client", address(t, w, "storage", v6)); err == nil {
			t.Errorf("a private source was let through: %+v", a)
		}
		if after, err := w.Refused("circuit/primary"); err != nil || after == before {
			t.Errorf("refused %d and then %d (%v)", before, after, err)
		}
	}
}

func TestPinnedPacketsAreSeen(t *testing.T) {
	t.Parallel()
	w := raise(t, public())
	standIn(t, w)
	if n, err := w.PinnedSeen("circuit/primary"); err != nil || n != 0 {
		t.Fatalf("%d packets before any was sent (%v)", n, err)
	}
	for _, v6 := range []bool{false, true} {
		if _, err := w.AskUDP(within(t, patience), "client", address(t, w, "vpn-gateway", v6)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := w.PinnedSeen("circuit/primary"); err != nil || n != 2 {
		t.Errorf("%d packets to pins, want the 2 that were sent (%v)", n, err)
	}
}

// carrier is what the edge's end of a link says.
func carrier(t *testing.T, w *World, name string) bool {
	t.Helper()
	up := false
	err := w.Exec(Edge, func() error {
		l, err := netlink.LinkByName(name)
		if err == nil {
			up = l.Attrs().RawFlags&(1<<16) != 0 // IFF_LOWER_UP
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func TestLinksFailAndHealByName(t *testing.T) {
	t.Parallel()
	for _, equal := range []bool{false, true} {
		t.Run(fmt.Sprintf("equal index %v", equal), func(t *testing.T) {
			t.Parallel()
			d := public()
			d.EqualIndex = equal
			w := raise(t, d)
			standIn(t, w)
			ctx := within(t, patience)
			to := address(t, w, "storage", false)
			answered := func() error {
				short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
				_, err := w.AskUDP(short, "client", to)
				return err
			}
			eventually(t, patience, answered)
			for _, silent := range []bool{false, true} {
				if err := w.Fail(ctx, "expressroute/primary", silent); err != nil {
					t.Fatal(err)
				}
				eventually(t, patience, func() error {
					if carrier(t, w, "er0") != silent {
						return fmt.Errorf("silent %v: carrier %v", silent, !silent)
					}
					return nil
				})
				if answered() == nil {
					t.Errorf("silent %v: the link failed and a request is answered", silent)
				}
				if f := w.Failures()["expressroute/primary"]; f != (Failure{true, silent}) {
					t.Errorf("failure: %+v", f)
				}
				if err := w.Heal(ctx, "expressroute/primary"); err != nil {
					t.Fatal(err)
				}
				toPrimary(t, w) // the stand-in lost it with the carrier, as kernels do
				eventually(t, patience, answered)
			}
			if err := w.Fail(ctx, "host:storage", false); err != nil {
				t.Fatal(err)
			}
			if answered() == nil {
				t.Error("a dead host answers")
			}
			if err := w.Heal(ctx, "host:storage"); err != nil {
				t.Fatal(err)
			}
			eventually(t, patience, answered)
			for _, name := range []string{"nothing", "session:isp-b/main", "host:nobody"} {
				if err := w.Fail(ctx, name, false); err == nil {
					t.Errorf("%s can fail", name)
				}
			}
		})
	}
}

func TestInterfaceIndexes(t *testing.T) {
	t.Parallel()
	for _, equal := range []bool{false, true} {
		d := world.Default()
		d.EqualIndex = equal
		w := raise(t, d)
		for _, r := range d.Routers {
			near, err := w.spaces[Edge].LinkByName(r.Interface)
			if err != nil {
				t.Fatal(err)
			}
			far, err := w.spaces[r.Name].LinkByName(siteInterface)
			if err != nil {
				t.Fatal(err)
			}
			if got := near.Attrs().Index == far.Attrs().Index; got != equal {
				t.Errorf("%s: indexes %d and %d, equal is to be %v", r.Link, near.Attrs().Index, far.Attrs().Index, equal)
			}
		}
	}
}

func TestStreamsCountEachWay(t *testing.T) {
	t.Parallel()
	w := raise(t, public())
	standIn(t, w)
	s, err := w.Stream(t.Context(), "client", address(t, w, "storage", false), 2000)
	if err != nil {
		t.Fatal(err)
	}
	returned := func(n uint64) func() error {
		return func() error {
			if l := s.Loss(); l.Returned < n {
				return fmt.Errorf("%s", l)
			}
			return nil
		}
	}
	eventually(t, patience, returned(1000))
	// The way back alone is cut: what arrives is not lost on the way out.
	if err := w.spaces[Cloud].Route(netip.MustParsePrefix("198.51.100.64/28"), metricCircuit); err != nil {
		t.Fatal(err)
	}
	for i := range w.Description.Routers {
		_ = w.spaces[Cloud].Route(netip.MustParsePrefix("198.51.100.64/28"), metricRouter+i) // isp-a's, where it is there
	}
	before := s.Loss().Arrived
	eventually(t, patience, func() error {
		if s.Loss().Arrived < before+500 {
			return errors.New("too few")
		}
		return nil
	})
	if l := s.Stop(); l.Out != 0 || l.Back < 400 || l.Sent < 1500 {
		t.Errorf("%s", l)
	}
}

func TestAnotherProcessSpeaksToAWorld(t *testing.T) {
	t.Parallel()
	w := raise(t, world.Default())
	if _, err := Call(w.Dir, Request{Verb: "fail", Name: "isp-a/main", Silent: true}); err != nil {
		t.Fatal(err)
	}
	r, err := Call(w.Dir, Request{Verb: "status"})
	if err != nil {
		t.Fatal(err)
	}
	if f := r.Status.Failures["isp-a/main"]; !f.Failed || !f.Silent || len(r.Status.Routers) != 4 {
		t.Errorf("status: %+v", r.Status)
	}
	if _, err := Call(w.Dir, Request{Verb: "fail", Name: "isp-z"}); err == nil || !strings.Contains(err.Error(), "isp-a/main") {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := Call(w.Dir, Request{Verb: "heal"}); err != nil || len(w.Failures()) != 0 {
		t.Errorf("heal: %v, %v", err, w.Failures())
	}
}

// A world whose process is killed leaves no process, no file and, with them, no namespace.
func TestKilledWorldLeavesNothing(t *testing.T) {
	t.Parallel()
	raise(t, world.Default()).Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), holdEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := startLocked(cmd); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	dir := strings.TrimSpace(line)
	if err != nil || !strings.HasPrefix(dir, os.TempDir()) {
		t.Fatalf("%q, %v", line, err)
	}
	var children []int
	for _, pid := range processes(t) {
		if pid.parent == cmd.Process.Pid {
			children = append(children, pid.id)
		}
	}
	if len(children) < 4 { // three routers and the reaper
		t.Fatalf("children: %v", children)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, patience, func() error {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is there: %v", dir, err)
		}
		for _, p := range processes(t) {
			if slices.Contains(children, p.id) && p.state != "Z" {
				return fmt.Errorf("process %d lives: %s", p.id, p.state)
			}
		}
		return nil
	})
}

type process struct {
	id, parent int
	state      string
}

func processes(t *testing.T) []process {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var out []process
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// The name may hold anything, spaces and brackets too.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		parent, _ := strconv.Atoi(fields[1])
		out = append(out, process{id, parent, fields[0]})
	}
	return out
}

// Sockets that Exec makes lie in the namespace: the same port in two worlds, and in none of the host's.
func TestWorldsDoNotMeet(t *testing.T) {
	t.Parallel()
	for range 2 {
		w := raise(t, world.Default())
		err := w.Exec(Edge, func() error {
			l, err := net.Listen("tcp", "10.20.0.1:8480")
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := raise(t, world.Default()).Exec("nowhere", func() error { return nil }); err == nil {
		t.Error("a namespace that is not there")
	}
}
