package session

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bothways/internal/bfd/packet"
	"bothways/internal/kernel/netnstest"
)

const frrBFDd = "/usr/lib/frr/bfdd"

// says waits until a command in the far namespace prints every string.
func (w *world) says(args []string, want ...string) {
	w.t.Helper()
	eventually(w.t, strings.Join(args, " ")+" says "+strings.Join(want, ", "), func() (bool, string) {
		got := w.ask(args...)
		for _, s := range want {
			if !strings.Contains(got, s) {
				return false, got
			}
		}
		return true, got
	})
}

// daemonUnderTest is BIRD or FRR at the far end.
type daemonUnderTest struct {
	*world
	configure func(interval time.Duration, multiplier int) // start, or change
	sees      func(neighbor, state string)                 // AdminDown, Down, Up
	shut      func(neighbor string, down bool)             // an operator's wish
	mute      bool                                         // and it ends its sessions without a word
}

func newBIRD(t *testing.T) *daemonUnderTest {
	t.Helper()
	if _, err := exec.LookPath("bird"); err != nil {
		netnstest.Missing(t, "bird is missing: install the Debian package bird2")
	}
	w := newWorld(t)
	socket := filepath.Join(w.dir, "bird.ctl")
	birdc := func(args ...string) []string { return append([]string{"birdc", "-s", socket}, args...) }
	running, off := false, map[string]bool{}
	interval, multiplier := time.Duration(0), 0
	write := func() string {
		one := func(ours, theirs string) string {
			if off[ours] {
				return ""
			}
			return fmt.Sprintf("neighbor %s dev \"wire\" local %s;", ours, theirs)
		}
		return w.file("bird.conf", fmt.Sprintf(`
log stderr all;
router id 198.51.100.1;
protocol device {}
protocol bfd lines {
	debug all;
	interface "wire" { min rx interval %d us; min tx interval %d us; idle tx interval 1 s; multiplier %d; };
	%s %s
}
`, interval.Microseconds(), interval.Microseconds(), multiplier, one(our4, their4), one(our6, their6)))
	}
	return &daemonUnderTest{
		world: w,
		mute:  true, // 2.0.12 does
		configure: func(i time.Duration, m int) {
			interval, multiplier = i, m
			conf := write()
			if running {
				w.says(birdc("configure"), "Reconfigured")
				return
			}
			running = true
			w.daemon("bird", "-f", "-c", conf, "-s", socket)
			w.says(birdc("show", "status"), "Daemon is up")
		},
		sees: func(neighbor, state string) {
			eventually(t, "bird sees "+neighbor+" "+state, func() (bool, string) {
				got := w.ask(birdc("show", "bfd", "sessions")...)
				for _, line := range strings.Split(got, "\n") {
					if f := strings.Fields(line); len(f) > 2 && f[0] == neighbor {
						return f[2] == state, got
					}
				}
				return state == "AdminDown", got // where it is off, it is not shown
			})
		},
		shut: func(neighbor string, down bool) {
			off[neighbor] = down
			write()
			w.says(birdc("configure"), "Reconfigured")
		},
	}
}

func newFRR(t *testing.T) *daemonUnderTest {
	t.Helper()
	if _, err := exec.LookPath(frrBFDd); err != nil {
		netnstest.Missing(t, "%s is missing: install the Debian package frr", frrBFDd)
	}
	w := newWorld(t)
	vtysh := func(commands ...string) []string {
		args := []string{"vtysh", "--vty_socket", w.dir}
		for _, c := range commands {
			args = append(args, "-c", c)
		}
		return args
	}
	peer := func(ours string) string {
		if ours == our4 {
			return "peer " + our4 + " local-address " + their4
		}
		return "peer " + our6 + " local-address " + their6
	}
	running := false
	return &daemonUnderTest{
		world: w,
		configure: func(i time.Duration, m int) {
			lines := []string{"bfd"}
			for _, ours := range []string{our4, our6} {
				lines = append(lines, peer(ours), fmt.Sprintf("receive-interval %d", i.Milliseconds()),
					fmt.Sprintf("transmit-interval %d", i.Milliseconds()), fmt.Sprintf("detect-multiplier %d", m), "no shutdown", "exit")
			}
			if running {
				w.ask(vtysh(append([]string{"configure terminal"}, lines...)...)...)
				return
			}
			running = true
			conf := w.file("frr.conf", "log stdout debugging\ndebug bfd peer\ndebug bfd network\n"+strings.Join(lines, "\n")+"\n")
			w.daemon(frrBFDd, "-f", conf, "-i", filepath.Join(w.dir, "bfdd.pid"),
				"--vty_socket", w.dir, "-P", "0", "-z", filepath.Join(w.dir, "zserv"), "--bfdctl", filepath.Join(w.dir, "ctl"))
			w.says(vtysh("show bfd peers"), our4, our6)
		},
		sees: func(neighbor, state string) {
			word := map[string]string{"Up": "Status: up", "Down": "Status: down", "AdminDown": "Status: shutdown"}[state]
			w.says(vtysh("show bfd "+peer(neighbor)), word)
		},
		shut: func(neighbor string, down bool) {
			word := "no shutdown"
			if down {
				word = "shutdown"
			}
			w.ask(vtysh("configure terminal", "bfd", peer(neighbor), word)...)
		},
	}
}

func TestBIRD(t *testing.T) { testInterop(t, newBIRD) }
func TestFRR(t *testing.T)  { testInterop(t, newFRR) }

func testInterop(t *testing.T, start func(*testing.T) *daemonUnderTest) {
	names := map[string]string{"isp-a/main": our4, "isp-a/main6": our6}
	far := func(t *testing.T, interval time.Duration) (*daemonUnderTest, *side) {
		d := start(t)
		d.configure(interval, 3)
		s := d.start(d.ours, config4(50*ms), config6(50*ms))
		for n, ours := range names {
			s.agreed(n, max(interval, 50*ms), 3*max(interval, 50*ms))
			d.sees(ours, "Up")
		}
		return d, s
	}
	noFailure := func(t *testing.T, s *side) {
		t.Helper()
		for _, e := range s.events() {
			if d, ok := e.(Down); ok && !d.Admin {
				t.Errorf("failed: %+v", d)
			}
		}
	}

	t.Run("silence", func(t *testing.T) {
		d, s := far(t, 50*ms)
		time.Sleep(time.Second)
		noFailure(t, s)
		d.silence()
		for n, ours := range names {
			e := s.down(n)
			if e.Admin || e.Detection != 150*ms || e.Due != e.Heard.Add(150*ms) {
				t.Errorf("%+v", e)
			}
			t.Logf("%s: found %v after the last packet", n, e.At.Sub(e.Heard))
			d.sees(ours, "Down")
		}
		d.heal()
		for n, ours := range names {
			s.agreed(n, 50*ms, 150*ms)
			d.sees(ours, "Up")
		}
	})

	t.Run("one way silence", func(t *testing.T) {
		d, s := far(t, 50*ms)
		d.nft(d.theirs, "add rule inet loss in udp dport 3784 drop") // it does not hear us, and says so
		for n := range names {
			eventually(t, n+" is down and hears the neighbor say so", func() (bool, string) {
				st := s.one(n)
				return st.State == packet.Init, fmt.Sprintf("%+v", st)
			})
			if e := s.down(n); e.Admin || e.Reason != "the neighbor signaled down: control detection time expired" {
				t.Errorf("%+v", e)
			}
		}
	})

	t.Run("timers change", func(t *testing.T) {
		d, s := far(t, 300*ms) // slower than we would like
		d.configure(50*ms, 3)
		for n := range names {
			s.agreed(n, 50*ms, 150*ms)
		}
		d.configure(300*ms, 5)
		for n := range names {
			s.agreed(n, 300*ms, 1500*ms)
		}
		d.configure(50*ms, 3)
		for n := range names {
			s.agreed(n, 50*ms, 150*ms)
		}
		s.want(config4(500*ms), config6(500*ms))
		for n := range names {
			s.agreed(n, 500*ms, 1500*ms)
		}
		s.want(config4(50*ms), config6(50*ms))
		for n, ours := range names {
			s.agreed(n, 50*ms, 150*ms)
			d.sees(ours, "Up")
		}
		time.Sleep(time.Second)
		noFailure(t, s)
	})

	t.Run("admin down there", func(t *testing.T) {
		d, s := far(t, 50*ms)
		d.shut(our4, true)
		if e := s.down("isp-a/main"); e.Admin == d.mute {
			t.Errorf("%+v", e)
		}
		d.shut(our4, false)
		s.agreed("isp-a/main", 50*ms, 150*ms)
		if !d.mute {
			noFailure(t, s)
		}
	})

	t.Run("admin down here", func(t *testing.T) {
		d, s := far(t, 50*ms)
		c := config4(50 * ms)
		c.AdminDown = true
		s.want(c, config6(50*ms))
		d.sees(our4, "Down")
		s.want(config4(50*ms), config6(50*ms))
		s.agreed("isp-a/main", 50*ms, 150*ms)
		d.sees(our4, "Up")
		noFailure(t, s)
	})
}
