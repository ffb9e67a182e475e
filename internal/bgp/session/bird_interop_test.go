package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/kernel/netnstest"
	"bothways/internal/route"
)

// bird is BIRD on the far side.
type bird struct {
	*world
	p *netnstest.Daemon
}

// birdConfig is what the tests change.
type birdConfig struct {
	password, ttl string
}

func startBird(t *testing.T, c birdConfig) *bird {
	t.Helper()
	b := &bird{world: newWorld(t, "bird", "bird2")}
	options := ""
	if c.password != "" {
		options += fmt.Sprintf("\tpassword %q;\n", c.password)
	}
	if c.ttl != "" {
		options += "\tttl security " + c.ttl + ";\n"
	}
	conf := fmt.Sprintf(`
log stderr all;
router id 198.51.100.1;
graceful restart wait 3;
protocol device {}
protocol static s4 { ipv4; route 10.1.0.0/16 blackhole { bgp_community.add((64601,7)); bgp_large_community.add((64601,8,9)); }; route 10.2.0.0/24 blackhole; }
protocol static s6 { ipv6; route 2001:db8:1::/48 blackhole { bgp_community.add((64601,7)); }; route 2001:db8:2::/64 blackhole; }
template bgp site {
	local as %d;
	graceful restart on;
	graceful restart time 60;
	connect delay time 1;
	connect retry time 2;
	error wait time 1,5;
	debug { states, events };
%s}
protocol bgp v4 from site { neighbor %s as %d; ipv4 { import all; export filter { if source != RTS_STATIC then reject; bgp_med = 5; accept; }; }; }
protocol bgp v6 from site { neighbor %s as %d; ipv6 { import all; export where source = RTS_STATIC; }; }
`, theirAS, options, our4, uint32(ourAS), our6, uint32(ourAS))
	b.file("bird.conf", conf)
	b.begin()
	return b
}

func (b *bird) begin(flags ...string) {
	b.t.Helper()
	args := append([]string{"bird", "-f", "-c", filepath.Join(b.dir, "bird.conf"), "-s", b.socket()}, flags...)
	b.p = b.daemon(args...)
	eventually(b.t, "bird answers", 90*time.Second, func() (bool, string) {
		got := b.birdc("show", "status")
		return strings.Contains(got, "Daemon is up"), got + b.p.Output()
	})
}

func (b *bird) socket() string { return filepath.Join(b.dir, "bird.ctl") }

func (b *bird) birdc(args ...string) string {
	return b.ask(append([]string{"birdc", "-s", b.socket()}, args...)...)
}

func (b *bird) saysRoute(prefix string, want ...string) {
	b.t.Helper()
	b.says(want, "birdc", "-s", b.socket(), "show", "route", "for", prefix, "all")
}

func TestBirdRoutes(t *testing.T) {
	b := startBird(t, birdConfig{})
	four, six := b.start(our4Config()), b.start(our6Config())
	four.SetAnnouncements(ourRoutes())
	six.SetAnnouncements(ourRoutes())
	four.up(t)
	six.up(t)

	b.saysRoute("198.51.100.0/24", "BGP.as_path: "+onePath+"\n", "BGP.next_hop: "+our4, "BGP.origin: IGP")
	b.saysRoute("203.0.113.0/24", "BGP.as_path: "+threePath+"\n", "BGP.community: (64601,70)", "BGP.large_community: (64601, 1, 2)")
	b.saysRoute("2001:db8:a::/48", "BGP.as_path: "+onePath+"\n", "BGP.next_hop: "+our6)
	b.saysRoute("2001:db8:b::/48", "BGP.as_path: "+threePath+"\n", "BGP.community: (64601,70)", "BGP.large_community: (64601, 1, 2)")
	four.hears(t, "+10.1.0.0/16 path [64601] via 192.0.2.2 med 5 communities [64601:7] large [64601:8:9]", "+10.2.0.0/24", "end-of-rib(ipv4)")
	six.hears(t, "+2001:db8:1::/48 path [64601] via 2001:db8::2 med 0 communities [64601:7]", "+2001:db8:2::/64", "end-of-rib(ipv6)")

	if n := four.Status().Negotiated; !n.FourOctetAS || n.Graceful == nil || !n.EnhancedRefresh {
		t.Errorf("negotiated %+v", n)
	}

	// What changes is told, and nothing else.
	four.SetAnnouncements(announcements("198.51.100.0/24"))
	b.saysRoute("203.0.113.0/24", "!"+threePath)
	b.birdc("disable", "s4")
	four.hears(t, "-10.1.0.0/16", "-10.2.0.0/24")
}

func TestBirdPassiveEitherSide(t *testing.T) {
	b := startBird(t, birdConfig{})
	c := our4Config()
	c.Passive = true
	s := b.start(c)
	s.up(t)
}

func TestBirdPassword(t *testing.T) {
	for _, tt := range []struct {
		name, ours string
		up         bool
	}{{"right", "secret", true}, {"wrong", "other", false}, {"none", "", false}} {
		t.Run(tt.name, func(t *testing.T) {
			b := startBird(t, birdConfig{password: "secret"})
			c4, c6 := our4Config(), our6Config()
			c4.Password, c6.Password = []byte(tt.ours), []byte(tt.ours)
			four, six := b.start(c4), b.start(c6)
			if tt.up {
				four.up(t)
				six.up(t)
				return
			}
			staysDown(t, four, six)
		})
	}
}

// staysDown waits until both sides had time to try several times.
func staysDown(t *testing.T, sides ...*side) {
	t.Helper()
	eventually(t, "attempts fail", 90*time.Second, func() (bool, string) {
		for _, s := range sides {
			st := s.Status()
			if st.Established > 0 {
				t.Fatalf("came up: %+v", st)
			}
			if st.LastErrorAt.IsZero() {
				return false, fmt.Sprintf("%+v", st)
			}
		}
		return true, ""
	})
}

// doesNotLive waits until both sides have failed. BIRD sets the TTL that it wants on a connection after it has taken it, so
// that an OPEN that is quick enough still gets through, and the session stands until its hold time ends.
func doesNotLive(t *testing.T, sides ...*side) {
	t.Helper()
	eventually(t, "sessions fail", 90*time.Second, func() (bool, string) {
		for _, s := range sides {
			if st := s.Status(); st.LastErrorAt.IsZero() || st.Phase == fsm.Established {
				return false, fmt.Sprintf("%+v", st)
			}
		}
		return true, ""
	})
}

func TestBirdTTLSecurity(t *testing.T) {
	for _, ours := range []bool{true, false} {
		t.Run(fmt.Sprint(ours), func(t *testing.T) {
			b := startBird(t, birdConfig{ttl: "on"})
			c4, c6 := our4Config(), our6Config()
			c4.TTLSecurity, c6.TTLSecurity = ours, ours
			c4.Hold, c6.Hold = 6*time.Second, 6*time.Second // a connection that is not taken hangs until then
			four, six := b.start(c4), b.start(c6)
			if ours {
				four.up(t)
				six.up(t)
				return
			}
			doesNotLive(t, four, six)
		})
	}
}

func TestBirdRefresh(t *testing.T) {
	b := startBird(t, birdConfig{})
	s := b.start(our4Config())
	s.SetAnnouncements(ourRoutes())
	s.up(t)
	s.hears(t, "end-of-rib(ipv4)")
	b.saysRoute("198.51.100.0/24", onePath)

	s.recorder.take()
	if err := s.RequestRefresh(route.IPv4); err != nil {
		t.Fatal(err)
	}
	s.hears(t, "refresh-start(ipv4)", "+10.1.0.0/16", "+10.2.0.0/24", "refresh-end(ipv4)")

	before := s.Status().Out.Updates
	b.birdc("reload", "in", "v4")
	eventually(t, "routes are sent again", 90*time.Second, func() (bool, string) {
		n := s.Status().Out.Updates
		return n >= before+2, fmt.Sprint(n, " after ", before)
	})
	b.saysRoute("198.51.100.0/24", onePath)
	if n := s.Status().Established; n != 1 {
		t.Errorf("came up %d times", n)
	}
}

func TestBirdKeepsOurRoutesThroughARestart(t *testing.T) {
	b := startBird(t, birdConfig{})
	s := b.start(our4Config())
	s.SetAnnouncements(ourRoutes())
	s.up(t)
	b.saysRoute("203.0.113.0/24", threePath)

	s.stop() // as a crash: no NOTIFICATION
	b.says([]string{"!Established"}, "birdc", "-s", b.socket(), "show", "protocols", "v4")
	b.saysRoute("203.0.113.0/24", threePath)
	b.saysRoute("198.51.100.0/24", onePath)

	c := our4Config()
	c.Graceful.Restarting, c.Graceful.Preserved, c.HoldEndOfRIB = true, true, true
	s = b.start(c)
	s.up(t)
	b.saysRoute("203.0.113.0/24", threePath) // up, but we have said nothing yet
	s.SetAnnouncements(announcements("203.0.113.0/24"))
	s.ReleaseEndOfRIB()
	b.saysRoute("198.51.100.0/24", "!"+onePath) // what we do not announce again goes with the End-of-RIB
	b.saysRoute("203.0.113.0/24", "BGP.as_path: "+onePath+"\n")
}

func TestBirdRestarts(t *testing.T) {
	b := startBird(t, birdConfig{})
	s := b.start(our4Config())
	s.up(t)
	s.hears(t, "end-of-rib(ipv4)")
	b.p.Stop(syscall.SIGKILL)
	s.hears(t, "stale [ipv4]")
	s.recorder.take()
	os.Remove(b.socket())
	b.begin("-R")
	s.up(t)
	s.hears(t, "up", "+10.1.0.0/16", "end-of-rib(ipv4)")
	for _, e := range s.all() {
		if up, ok := e.(Up); ok && !up.Negotiated.Graceful.Restarting {
			t.Errorf("no R bit in %+v", up.Negotiated.Graceful)
		}
	}
}

func TestBirdShutdownMessages(t *testing.T) {
	b := startBird(t, birdConfig{})
	four, six := b.start(our4Config()), b.start(our6Config())
	four.up(t)
	six.up(t)
	four.Shutdown("moving to the new rack")
	eventually(t, "bird logs our message", 90*time.Second, func() (bool, string) {
		got := b.p.Output()
		return strings.Contains(got, "moving to the new rack"), got
	})
	b.birdc("disable", "v6", "\"see you at 3\"")
	six.hears(t, `down: neighbor sent cease: administrative shutdown "see you at 3"`)
	b.birdc("enable", "v6")
	eventually(t, "comes back", 90*time.Second, func() (bool, string) {
		return six.Status().Phase == fsm.Established, fmt.Sprintf("%+v", six.Status())
	})
}
