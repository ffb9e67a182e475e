package session

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bothways/internal/bfd/fsm"
	"bothways/internal/bfd/packet"
)

func TestSetRefuses(t *testing.T) {
	s := New(nil, nil)
	for want, change := range map[string]func(*Config){
		"has no name":                 func(c *Config) { c.Name = "" },
		"has no interface":            func(c *Config) { c.Interface = "" },
		"want two of one family":      func(c *Config) { c.Neighbor = addr(their6) },
		"interval is 0s":              func(c *Config) { c.Interval = 0 },
		"multiplier is 0":             func(c *Config) { c.Multiplier = 0 },
		"local address invalid IP":    func(c *Config) { c.Local = c.Local.Unmap(); c.Local = [1]Config{}[0].Local },
		"minimum receive interval is": func(c *Config) { c.MinReceive = time.Hour },
	} {
		c := config4(50 * ms)
		change(&c)
		if err := s.Set([]Config{c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := s.Set([]Config{config4(50 * ms), config4(60 * ms)}); err == nil || !strings.Contains(err.Error(), "is there twice") {
		t.Error(err)
	}
}

// TestPair: both families, found down by silence, and up again.
func TestPair(t *testing.T) {
	for _, interval := range []time.Duration{10 * ms, 50 * ms} {
		t.Run(interval.String(), func(t *testing.T) {
			w := newWorld(t)
			a := w.start(w.ours, config4(interval), config6(interval))
			b := w.start(w.theirs, turned(config4(interval)), turned(config6(interval)))
			names := []string{"isp-a/main", "isp-a/main6"}
			for _, n := range names {
				a.agreed(n, interval, 3*interval)
				b.agreed(n, interval, 3*interval)
			}
			time.Sleep(time.Second)
			for _, n := range names {
				if st := a.one(n); st.Flaps != 0 || st.Verdict != fsm.Up {
					t.Errorf("%s flaps by itself: %+v", n, st)
				}
			}
			w.silence()
			for _, n := range names {
				d := a.down(n)
				if d.Admin || d.Detection != 3*interval || !d.Due.Equal(d.Heard.Add(d.Detection)) {
					t.Errorf("%+v", d)
				}
				late := d.At.Sub(d.Due)
				t.Logf("%s: found %v after the last packet, %v late", n, d.At.Sub(d.Heard), late)
				if late < 0 || late > 100*ms {
					t.Errorf("%s found %v late", n, late)
				}
			}
			w.heal()
			for _, n := range names {
				a.agreed(n, interval, 3*interval)
				if st := a.one(n); st.Flaps != 1 || st.LastFailedAfter < 3*interval {
					t.Errorf("%+v", st)
				}
			}
		})
	}
}

// TestSetDiffers: what a new list of sessions does to those that are there.
func TestSetDiffers(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.ours, config4(50*ms), config6(50*ms))
	b := w.start(w.theirs, turned(config4(50*ms)), turned(config6(50*ms)))
	a.agreed("isp-a/main", 50*ms, 150*ms)
	a.agreed("isp-a/main6", 50*ms, 150*ms)
	port, since := a.one("isp-a/main6").SourcePort, a.one("isp-a/main6").Since
	if port < firstPort || port == a.one("isp-a/main").SourcePort {
		t.Errorf("source ports %d and %d", port, a.one("isp-a/main").SourcePort)
	}

	// Slower, and faster again, by Poll Sequences.
	for _, d := range []time.Duration{200 * ms, 20 * ms} {
		a.want(config4(d), config6(50*ms))
		a.agreed("isp-a/main", max(d, 50*ms), 3*max(d, 50*ms))
		b.agreed("isp-a/main", max(d, 50*ms), 3*max(d, 50*ms))
	}
	// Gone: the neighbor hears that it is no failure.
	a.want(config6(50 * ms))
	if d := b.down("isp-a/main"); !d.Admin {
		t.Errorf("%+v", d)
	}
	if n := len(a.Status()); n != 1 {
		t.Errorf("%d sessions", n)
	}
	a.want(config4(50*ms), config6(50*ms))
	a.agreed("isp-a/main", 50*ms, 150*ms)

	// An operator's wish, and back.
	c := config4(50 * ms)
	c.AdminDown = true
	a.want(c, config6(50*ms))
	if d := a.down("isp-a/main"); !d.Admin {
		t.Errorf("%+v", d)
	}
	eventually(t, "the neighbor hears it", func() (bool, string) {
		st := b.one("isp-a/main")
		return st.Remote == packet.AdminDown && st.Verdict == fsm.Administrative, fmt.Sprintf("%+v", st)
	})
	a.want(config4(50*ms), config6(50*ms))
	a.agreed("isp-a/main", 50*ms, 150*ms)

	if st := a.one("isp-a/main6"); st.SourcePort != port || !st.Since.Equal(since) || st.Flaps != 0 {
		t.Errorf("the other session did not just go on: %+v", st)
	}
	for _, s := range []*side{a, b} {
		for _, e := range s.events() {
			if d, ok := e.(Down); ok && !d.Admin {
				t.Errorf("failed: %+v", d)
			}
		}
	}
}

// TestStops: who ends without a word leaves the neighbor to find out, so that a successor can be in time.
func TestStops(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.ours, config4(100*ms))
	b := w.start(w.theirs, turned(config4(100*ms)))
	b.agreed("isp-a/main", 100*ms, 300*ms)
	a.stop()
	if d := b.down("isp-a/main"); d.Admin || !strings.HasPrefix(d.Reason, "nothing from the neighbor") {
		t.Errorf("%+v", d)
	}
	a = w.start(w.ours, config4(100*ms))
	b.agreed("isp-a/main", 100*ms, 300*ms)
	a.want()
	a.stop() // and yet what was Set is carried out
	if d := b.down("isp-a/main"); !d.Admin {
		t.Errorf("%+v", d)
	}
}

// TestWaits: what is missing is said, and waited for.
func TestWaits(t *testing.T) {
	w := newWorld(t)
	waits := func(s *side, want string) {
		t.Helper()
		eventually(t, "waits: "+want, func() (bool, string) {
			got := s.one("isp-a/main").Waiting
			return strings.Contains(got, want), got
		})
	}
	b := w.start(w.theirs, turned(config4(50*ms)))
	w.run("ip", "-n", w.ours, "addr", "del", our4+"/30", "dev", "wire")
	a := w.start(w.ours, config4(50*ms))
	waits(a, "address 192.0.2.1 is not there")
	w.run("ip", "-n", w.ours, "addr", "add", our4+"/30", "dev", "wire")
	a.agreed("isp-a/main", 50*ms, 150*ms)

	w.run("ip", "-n", w.ours, "link", "del", "wire")
	if d := a.down("isp-a/main"); d.Admin {
		t.Errorf("%+v", d)
	}
	waits(a, "interface wire is missing")
	waits(b, "interface wire is missing")
	w.wire()
	a.agreed("isp-a/main", 50*ms, 150*ms)
	if got := a.one("isp-a/main").Waiting; got != "" {
		t.Errorf("still waits: %s", got)
	}

	// A second one on the same machine finds the port taken.
	c := w.start(w.ours, config4(50*ms))
	waits(c, "listen on UDP port 3784: address already in use")
	a.stop()
	c.agreed("isp-a/main", 50*ms, 150*ms)
}

// TestFromAfar: a packet that a router has passed on does not count (RFC 5881, section 5).
func TestFromAfar(t *testing.T) {
	w := newWorld(t)
	w.nft(w.ours, "add chain inet loss out { type filter hook output priority 0; }")
	w.nft(w.ours, "add rule inet loss out ip ttl set 254")
	b := w.start(w.theirs, turned(config4(50*ms)))
	w.start(w.ours, config4(50*ms))
	time.Sleep(1500 * ms)
	if st := b.one("isp-a/main"); st.Received != 0 || st.State != packet.Down {
		t.Errorf("%+v", st)
	}
	w.nft(w.ours, "flush chain inet loss out")
	b.agreed("isp-a/main", 50*ms, 150*ms)
}

// TestOtherInterface: a session is the proof of its own link.
func TestOtherInterface(t *testing.T) {
	w := newWorld(t)
	w.run("ip", "-n", w.ours, "link", "add", "other", "type", "veth", "peer", "name", "other", "netns", w.theirs)
	for i, ns := range []string{w.ours, w.theirs} {
		w.run("ip", "-n", ns, "addr", "add", fmt.Sprintf("192.0.2.%d/30", 5+i), "dev", "other")
		w.run("ip", "-n", ns, "link", "set", "other", "up")
	}
	c := turned(config4(50 * ms))
	c.Interface = "other" // the far end sends by another wire, with the same addresses
	w.start(w.theirs, c)
	a := w.start(w.ours, config4(50*ms))
	eventually(t, "packets by the wrong interface are seen", func() (bool, string) {
		d := a.Stats().Discards
		return d[packet.UnknownNeighbor]+d[packet.WrongInterface] > 1, fmt.Sprint(d)
	})
	if st := a.one("isp-a/main"); st.State != packet.Down || st.Received != 0 {
		t.Errorf("%+v", st)
	}
}

// burn keeps n goroutines busy until the test ends.
func burn(t *testing.T, n int) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			var garbage [][]byte
			for i := 0.0; !stop.Load(); i++ {
				for range 10000 {
					i = math.Sqrt(i*i + 1)
				}
				if garbage = append(garbage, make([]byte, 4096)); len(garbage) > 2000 {
					garbage = nil
				}
			}
		})
	}
	t.Cleanup(func() { stop.Store(true); wg.Wait() })
}

// TestBusy: nothing flaps while the process needs all processors for something else.
func TestBusy(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector is what is slow")
	}
	for _, tt := range []struct {
		interval time.Duration
		burners  int
	}{{50 * ms, runtime.GOMAXPROCS(0)}} {
		t.Run(fmt.Sprintf("%v x3, %d busy", tt.interval, tt.burners), func(t *testing.T) {
			w := newWorld(t)
			a := w.start(w.ours, config4(tt.interval), config6(tt.interval))
			b := w.start(w.theirs, turned(config4(tt.interval)), turned(config6(tt.interval)))
			for _, n := range []string{"isp-a/main", "isp-a/main6"} {
				a.agreed(n, tt.interval, 3*tt.interval)
				b.agreed(n, tt.interval, 3*tt.interval)
			}
			burn(t, tt.burners)
			time.Sleep(5 * time.Second)
			for _, s := range []*side{a, b} {
				for _, st := range s.Status() {
					if st.Flaps != 0 || st.State != packet.Up {
						t.Errorf("%+v", st)
					}
				}
				t.Logf("latest packet: %v late", s.Stats().Latest)
			}
		})
	}
}

// TestSlowSink: a sink that hangs holds nothing up, and gets the last word of each session when it is back.
func TestSlowSink(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.ours, config4(10*ms))
	b := w.start(w.theirs, turned(config4(10*ms)))
	a.mu.Lock() // the sink hangs at the first event
	c := turned(config4(10 * ms))
	for range 4 {
		b.agreed("isp-a/main", 10*ms, 30*ms)
		c.AdminDown = true
		b.want(c)
		eventually(t, "down here", func() (bool, string) { s := a.one("isp-a/main").State; return s == packet.Down, s.String() })
		c.AdminDown = false
		b.want(c)
	}
	b.agreed("isp-a/main", 10*ms, 30*ms)
	a.agreed("isp-a/main", 10*ms, 30*ms)
	a.mu.Unlock()
	eventually(t, "the sink hears the end", func() (bool, string) {
		all := a.events()
		if len(all) == 0 {
			return false, ""
		}
		_, up := all[len(all)-1].(Up)
		return up && len(all) <= 3, fmt.Sprintf("%+v", all)
	})
}

// TestNoGarbage: the path of a packet allocates nothing, so that no collector can make it wait.
func TestNoGarbage(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l := newLoop(New(nil, nil), -1)
	x := newSession(config4(50*ms), 7, 1, time.Now())
	x.publish()
	x.socket.index = 1
	l.sessions, l.byDiscriminator[7] = []*session{x}, x
	c := packet.Control{State: packet.Init, Multiplier: 3, MyDiscriminator: 9, YourDiscriminator: 7, DesiredMinTx: time.Second, RequiredMinRx: time.Second}
	b := c.Encode()
	d := datagram{data: b[:], index: 1, ttl: 255, at: time.Now()}
	l.received(&d)
	if n := testing.AllocsPerRun(1000, func() {
		d.at = time.Now()
		l.received(&d)
		l.turn()
		l.next()
	}); n != 0 || x.one().State != packet.Up {
		t.Errorf("%v allocations for a packet; %+v", n, x.one())
	}
}

func (x *session) one() Status { return *x.status.Load() }
