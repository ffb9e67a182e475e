package session

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	addrA, addrB = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	hops         = map[route.Family]netip.Addr{route.IPv6: netip.MustParseAddr("2001:db8::1")}
)

// config is that of our side, "a", towards the neighbor "b".
func config() Config {
	return Config{
		Params: fsm.Params{LocalAS: 65010, NeighborAS: 12076, RouterID: netip.MustParseAddr("203.0.113.1"),
			Families: route.Families(), Hold: 90 * time.Second, Extended: true,
			Graceful: fsm.Graceful{Enabled: true}},
		Name: "expressroute/primary", Local: addrA, Neighbor: addrB, NextHop: hops,
	}
}

func neighborConfig() Config {
	c := config()
	c.LocalAS, c.NeighborAS, c.RouterID = c.NeighborAS, c.LocalAS, netip.MustParseAddr("198.51.100.1")
	c.Local, c.Neighbor, c.Name, c.Passive = addrB, addrA, "neighbor", true
	return c
}

// recorder is a Sink that keeps what it is told, and can be made to block.
type recorder struct {
	mu     sync.Mutex    // guards the rest
	gate   chan struct{} // closed when it may go on; a channel, for synctest takes no mutex for waiting
	events []Event
}

// block has the recorder take nothing until the function that it returns is called.
func (r *recorder) block() (unblock func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gate := make(chan struct{})
	r.gate = gate
	return func() { close(gate) }
}

func (r *recorder) Handle(_ context.Context, e Event) {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// take returns and forgets what was told.
func (r *recorder) take() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.events
	r.events = nil
	return e
}

// kinds names events in short.
func kinds(events []Event) string {
	var out []string
	for _, e := range events {
		switch e := e.(type) {
		case Up:
			out = append(out, "up")
		case Down:
			out = append(out, "down("+e.Reason+")")
		case Updates:
			n := 0
			for _, u := range e.Updates {
				n += len(u.Announced) + len(u.Withdrawn)
			}
			out = append(out, "updates")
		case EndOfRIB:
			out = append(out, "end-of-rib("+e.Family.String()+")")
		case RefreshStart:
			out = append(out, "refresh-start("+e.Family.String()+")")
		case RefreshEnd:
			out = append(out, "refresh-end("+e.Family.String()+")")
		case Diagnostic:
			out = append(out, "diagnostic("+e.Diagnostic.String()+")")
		}
	}
	return strings.Join(out, " ")
}

// told counts the prefixes that were written.
func told(events []Event) (n int) {
	for _, e := range events {
		if e, ok := e.(Announced); ok {
			n += e.Prefixes
		}
	}
	return n
}

// runs starts a session and ends it with the test.
func runs(t *testing.T, s *Session) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pair of sessions whose dials reach each other.
func connectedPair(t *testing.T, change func(a, b *Config)) (a, b *Session, ra, rb *recorder) {
	ca, cb := config(), neighborConfig()
	if change != nil {
		change(&ca, &cb)
	}
	ra, rb = &recorder{}, &recorder{}
	a, b = New(ca, ra, nil), New(cb, rb, nil)
	reach := func(other *Session) func(context.Context, *Config) (net.Conn, error) {
		return func(context.Context, *Config) (net.Conn, error) {
			ours, theirs := net.Pipe()
			if err := other.takeConn(theirs); err != nil {
				ours.Close()
				return nil, err
			}
			return ours, nil
		}
	}
	a.dial, b.dial = reach(b), reach(a)
	runs(t, b)
	runs(t, a)
	return a, b, ra, rb
}

func announcements(s ...string) map[route.Family][]route.Announcement {
	out := map[route.Family][]route.Announcement{}
	for _, p := range s {
		p := netip.MustParsePrefix(p)
		f := route.FamilyOf(p.Addr())
		out[f] = append(out[f], route.Announcement{Prefix: p})
	}
	return out
}

// says collects what updates say, as "+prefix" and "-prefix".
func says(events []Event) string {
	var out []string
	for _, e := range events {
		if u, ok := e.(Updates); ok {
			for _, u := range u.Updates {
				for _, p := range u.Withdrawn {
					out = append(out, "-"+p.String())
				}
				for _, p := range u.Announced {
					out = append(out, "+"+p.String())
				}
			}
		}
	}
	return strings.Join(out, " ")
}

func TestSessionComesUpAndAnnounces(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(a, b *Config)
	}{
		{"one dials", nil},
		{"both dial", func(_, b *Config) { b.Passive = false }},
		{"both dial, the other identifier is higher", func(a, b *Config) { b.Passive = false; a.RouterID, b.RouterID = b.RouterID, a.RouterID }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b, ra, rb := connectedPair(t, tt.change)
				a.SetAnnouncements(announcements("198.51.100.64/28", "2001:db8:1::/48"))
				time.Sleep(time.Second)
				synctest.Wait()
				if a.Status().Phase != fsm.Established || b.Status().Phase != fsm.Established {
					t.Fatalf("%+v\n%+v", a.Status(), b.Status())
				}
				own := ra.take()
				if got, want := kinds(own), "up end-of-rib(ipv4) end-of-rib(ipv6)"; got != want {
					t.Errorf("a: %s, want %s", got, want)
				}
				if n := told(own); n != 2 {
					t.Errorf("a wrote %d prefixes, want 2", n)
				}
				events := rb.take()
				if got, want := says(events), "+198.51.100.64/28 +2001:db8:1::/48"; got != want {
					t.Errorf("b: %s, want %s", got, want)
				}
				a.SetAnnouncements(announcements("198.51.100.80/28", "2001:db8:1::/48"))
				synctest.Wait()
				if got, want := says(rb.take()), "-198.51.100.64/28 +198.51.100.80/28"; got != want {
					t.Errorf("b: %s, want %s", got, want)
				}
				if n := a.Status().Announced; n != 2 {
					t.Errorf("%d announced", n)
				}
				if n := told(ra.take()); n != 2 {
					t.Errorf("a wrote %d prefixes, want one taken back and one new", n)
				}
				time.Sleep(time.Hour) // keepalives hold it up
				synctest.Wait()
				if got := kinds(ra.take()) + kinds(rb.take()); got != "" {
					t.Errorf("in an hour of quiet: %s", got)
				}
			})
		})
	}
}

func TestShutdownTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, rb := connectedPair(t, nil)
		time.Sleep(time.Second)
		synctest.Wait()
		rb.take()
		a.Shutdown("maintenance until 3")
		synctest.Wait()
		e := rb.take()
		if len(e) != 1 {
			t.Fatal(kinds(e))
		}
		down := e[0].(Down)
		if c := down.Received.Communication(); c != "maintenance until 3" || len(down.Stale) > 0 {
			t.Errorf("%q, stale %v", c, down.Stale)
		}
		if err := a.takeConn(nil); err == nil {
			t.Error("takes connections after its end")
		}
		_ = b
	})
}

func TestAbandonLeavesRoutesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _, rb := connectedPair(t, nil)
		time.Sleep(time.Second)
		synctest.Wait()
		rb.take()
		a.Abandon()
		synctest.Wait()
		e := rb.take()
		if len(e) != 1 {
			t.Fatal(kinds(e))
		}
		down := e[0].(Down)
		if len(down.Stale) != 2 || down.StaleUntil.Sub(down.At) != 120*time.Second || down.Received != nil {
			t.Errorf("%+v", down)
		}
	})
}

func TestEndOfRIBIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _, rb := connectedPair(t, func(a, _ *Config) { a.HoldEndOfRIB = true; a.Graceful.Restarting = true })
		a.SetAnnouncements(announcements("198.51.100.64/28"))
		time.Sleep(time.Second)
		synctest.Wait()
		e := rb.take()
		if got, want := kinds(e), "up updates"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if !e[0].(Up).Negotiated.Graceful.Restarting {
			t.Error("no R bit")
		}
		a.SetAnnouncements(announcements("198.51.100.64/28", "203.0.113.0/24"))
		a.ReleaseEndOfRIB()
		synctest.Wait()
		if got, want := kinds(rb.take()), "updates end-of-rib(ipv4) end-of-rib(ipv6)"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, rb := connectedPair(t, nil)
		a.SetAnnouncements(announcements("198.51.100.64/28"))
		if err := b.RequestRefresh(route.IPv4); err == nil {
			t.Error("a session that is not up can refresh")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		rb.take()
		if err := b.RequestRefresh(route.IPv4); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := kinds(rb.take()), "refresh-start(ipv4) updates refresh-end(ipv4)"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestRefreshBeforeTheEnd: the marks of a refresh would have a neighbor drop what it keeps until End-of-RIB.
func TestRefreshBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, rb := connectedPair(t, func(a, _ *Config) { a.HoldEndOfRIB = true })
		a.SetAnnouncements(announcements("198.51.100.64/28"))
		time.Sleep(time.Second)
		synctest.Wait()
		rb.take()
		if err := b.RequestRefresh(route.IPv4); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := kinds(rb.take()), "updates"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		a.ReleaseEndOfRIB()
		synctest.Wait()
		if got, want := kinds(rb.take()), "end-of-rib(ipv4) end-of-rib(ipv6)"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestStopRefusesForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, ra, rb := connectedPair(t, func(_, b *Config) { b.Passive = false })
		time.Sleep(time.Second)
		synctest.Wait()
		ra.take()
		rb.take()
		a.Stop(message.MaximumPrefixes, 10*time.Minute)
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		if got := kinds(ra.take()); got != "down(sent cease: maximum number of prefixes reached)" {
			t.Error(got)
		}
		if a.Status().Phase != fsm.Idle {
			t.Error(a.Status())
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := kinds(ra.take()); !strings.HasPrefix(got, "up") {
			t.Error(got, b.Status())
		}
	})
}
