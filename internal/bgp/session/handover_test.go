package session

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// pairOnLoopback is two sessions over TCP on loopback: ours, and a neighbor's.
type pairOnLoopback struct {
	t         *testing.T
	cfg       Config
	ours      *Session
	end       func() // of ours, as when its process ends
	rec       *recorder
	neighbor  *Session
	neighbors *recorder
}

func newPairOnLoopback(t *testing.T) *pairOnLoopback {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	loop := netip.MustParseAddr("127.0.0.1")
	p := &pairOnLoopback{t: t, cfg: config(), rec: &recorder{}, neighbors: &recorder{}}
	p.cfg.Local, p.cfg.Neighbor, p.cfg.NextHop = loop, loop, map[route.Family]netip.Addr{route.IPv4: addrA}
	p.cfg.Families, p.cfg.Graceful.Enabled = []route.Family{route.IPv4}, false
	nc := neighborConfig()
	nc.Local, nc.Neighbor, nc.NextHop, nc.Families = loop, loop, map[route.Family]netip.Addr{route.IPv4: addrB}, p.cfg.Families
	p.neighbor = New(nc, p.neighbors, nil)
	runs(t, p.neighbor)
	p.ours = New(p.cfg, p.rec, nil)
	p.ours.dial = func(ctx context.Context, _ *Config) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp4", ln.Addr().String())
		if err == nil {
			err = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
		}
		return c, err
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.(*net.TCPConn).SetReadBuffer(16 << 10)
			for p.neighbor.takeConn(c) != nil {
				time.Sleep(time.Millisecond) // its Run has not begun yet
			}
		}
	}()
	t.Cleanup(func() { ln.Close(); <-accepted; p.end() })
	p.start()
	p.is("up", func() bool {
		return p.ours.Status().Phase == fsm.Established && p.neighbor.Status().Phase == fsm.Established
	})
	return p
}

func (p *pairOnLoopback) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s, done := p.ours, make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	p.end = func() { cancel(); <-done }
}

func (p *pairOnLoopback) is(what string, ok func() bool) {
	p.t.Helper()
	eventually(p.t, what, 30*time.Second, func() (bool, string) {
		return ok(), fmt.Sprintf("ours %+v\nneighbor %+v", p.ours.Status(), p.neighbor.Status())
	})
}

// freeze freezes ours, and gives what another process would read of it.
func (p *pairOnLoopback) freeze() (*Handover, net.Conn) {
	p.t.Helper()
	p.is("runs", func() bool {
		p.ours.mu.Lock()
		defer p.ours.mu.Unlock()
		return p.ours.running
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	f, err := p.ours.Freeze(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	if f.Handover == nil {
		p.t.Fatalf("nothing to hand over: %+v", p.ours.Status())
	}
	text, err := json.Marshal(f.Handover)
	if err != nil {
		p.t.Fatal(err)
	}
	h := &Handover{}
	if err := json.Unmarshal(text, h); err != nil {
		p.t.Fatal(err)
	}
	nc, err := net.FileConn(f.File)
	if err != nil {
		p.t.Fatal(err)
	}
	return h, nc
}

// handOver makes ours another session, as another process does.
func (p *pairOnLoopback) handOver() *Handover {
	p.t.Helper()
	h, nc := p.freeze()
	next, err := Take(p.cfg, h, nc, p.rec, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.end()
	p.ours = next
	p.start()
	return h
}

// stood fails where the neighbor has seen anything.
func (p *pairOnLoopback) stood() {
	p.t.Helper()
	if st := p.neighbor.Status(); st.Established != 1 || st.Phase != fsm.Established {
		p.t.Errorf("the neighbor's session went down: %+v", st)
	}
	p.neighbors.mu.Lock()
	defer p.neighbors.mu.Unlock()
	if all := kinds(p.neighbors.events); strings.Contains(all, "down") || strings.Count(all, "up ") > 1 {
		p.t.Errorf("the neighbor heard %s", all)
	}
}

// known is what a side was told and still holds.
func known(r *recorder) map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]bool{}
	for _, e := range r.events {
		if u, ok := e.(Updates); ok {
			for _, u := range u.Updates {
				for _, p := range u.Withdrawn {
					delete(out, p.String())
				}
				for _, p := range u.Announced {
					out[p.String()] = true
				}
			}
		}
	}
	return out
}

// many are n prefixes, no two of which fit one UPDATE.
func many(n int) map[route.Family][]route.Announcement {
	var list []route.Announcement
	for i := range n {
		list = append(list, route.Announcement{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
			Communities: []route.Community{route.Community(i)}})
	}
	return map[route.Family][]route.Announcement{route.IPv4: list}
}

func TestHandover(t *testing.T) {
	p := newPairOnLoopback(t)
	p.neighbor.SetAnnouncements(many(3))
	p.ours.SetAnnouncements(announcements("198.51.100.0/24", "203.0.113.0/24"))
	p.is("told", func() bool { return len(known(p.neighbors)) == 2 && len(known(p.rec)) == 3 })
	since := p.ours.Status().Since

	h, nc := p.freeze()
	p.neighbor.SetAnnouncements(many(4)) // it lies in the kernel until somebody reads on
	p.is("sent", func() bool { return p.neighbor.Status().Announced == 4 })
	if len(known(p.rec)) != 3 {
		t.Error("a frozen session read on")
	}
	next, err := Take(p.cfg, h, nc, p.rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.end()
	p.rec.take()
	p.ours = next
	p.start()
	p.is("heard on", func() bool { return known(p.rec)["10.0.3.0/24"] })
	if up, ok := p.rec.take()[0].(Up); !ok || !up.Taken || up.Negotiated.RouterID != p.neighbor.Config().RouterID {
		t.Errorf("told %+v first", up)
	}
	st := p.ours.Status()
	if st.Since.Sub(since).Abs() > time.Millisecond || st.Established != 1 || st.Announced != 2 || st.In.Updates == 0 {
		t.Errorf("shown as %+v, since %v before", st, since)
	}

	// What the neighbor knows is not told again, and the rest is.
	sent := p.ours.Status().Out.Updates
	p.ours.SetAnnouncements(announcements("198.51.100.0/24", "192.0.2.0/24"))
	p.is("told the difference", func() bool {
		k := known(p.neighbors)
		return len(k) == 2 && k["192.0.2.0/24"] && !k["203.0.113.0/24"]
	})
	if n := p.ours.Status().Out.Updates - sent; n != 2 {
		t.Errorf("%d updates for one prefix more and one less", n)
	}

	// Both may still ask for everything.
	if err := p.ours.RequestRefresh(route.IPv4); err != nil {
		t.Fatal(err)
	}
	p.is("refreshed", func() bool { return len(known(p.rec)) == 4 })
	p.neighbors.take()
	if err := p.neighbor.RequestRefresh(route.IPv4); err != nil {
		t.Fatal(err)
	}
	p.is("refreshed the neighbor", func() bool { return len(known(p.neighbors)) == 2 })
	p.stood()
}

// TestHandoverInTheMiddle hands a session over again and again while the neighbor sends: a message is read by two
// processes, and none is read twice.
func TestHandoverInTheMiddle(t *testing.T) {
	p := newPairOnLoopback(t)
	for i := range 30 {
		p.neighbor.SetAnnouncements(many(3000 + 100*i))
		p.handOver()
	}
	p.is("all sent", func() bool { return p.neighbor.Status().Announced == 5900 })
	p.rec.take()
	if err := p.ours.RequestRefresh(route.IPv4); err != nil {
		t.Fatal(err)
	}
	p.is("all heard", func() bool { return len(known(p.rec)) == 5900 })
	p.stood()
}

// TestHandoverInAMessage hands a session over when the neighbor has sent half a message.
func TestHandoverInAMessage(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := &pairOnLoopback{t: t, cfg: config(), rec: &recorder{}, neighbors: &recorder{}}
	loop := netip.MustParseAddr("127.0.0.1")
	p.cfg.Local, p.cfg.Neighbor, p.cfg.Families = loop, loop, []route.Family{route.IPv4}
	p.ours, p.neighbor = New(p.cfg, p.rec, nil), New(neighborConfig(), p.neighbors, nil)
	p.ours.dial = func(ctx context.Context, _ *Config) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp4", ln.Addr().String())
	}
	p.start()
	defer func() { p.end() }()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	o := &message.Open{AS: p.cfg.NeighborAS, HoldTime: 90 * time.Second, RouterID: netip.MustParseAddr("198.51.100.1"),
		Capabilities: message.Capabilities{Families: route.Families(), FourOctetAS: true}}
	end := (&message.Encoder{}).EndOfRIB(nil, route.IPv4)
	half := len(end) / 2
	nc.Write(append(message.Keepalive{}.AppendTo(o.AppendTo(nil)), end[:half]...))
	p.is("up", func() bool { return p.ours.Status().Phase == fsm.Established })
	if h := p.handOver(); len(h.Unread) != half {
		t.Errorf("%d bytes were read of a message, want %d", len(h.Unread), half)
	}
	nc.Write(end[half:])
	p.is("heard", func() bool {
		p.rec.mu.Lock()
		defer p.rec.mu.Unlock()
		return strings.HasSuffix(kinds(p.rec.events), "end-of-rib(ipv4)")
	})
}

// TestHandoverToASlowNeighbor hands over what a neighbor that does not read has not been sent.
func TestHandoverToASlowNeighbor(t *testing.T) {
	p := newPairOnLoopback(t)
	unblock := p.neighbors.block()
	p.ours.SetAnnouncements(many(60_000))
	p.is("full", func() bool { return p.ours.Status().Announced == 60_000 })
	time.Sleep(300 * time.Millisecond) // for the buffers of the kernel to fill
	unsent := 0
	for range 3 {
		h := p.handOver()
		unsent = max(unsent, len(h.Unsent))
		p.ours.SetAnnouncements(many(60_000))
	}
	if unsent < 1000 {
		t.Error("all was sent: this shows nothing")
	}
	unblock()
	p.neighbors.mu.Lock()
	p.neighbors.gate = nil
	p.neighbors.mu.Unlock()
	p.is("told", func() bool { return len(known(p.neighbors)) == 60_000 })
	p.stood()
	t.Logf("%d bytes handed over unsent", unsent)
}

// TestTakenAndEnded: a session that the new configuration does not have is ended with a word, also before it ran here.
func TestTakenAndEnded(t *testing.T) {
	p := newPairOnLoopback(t)
	h, nc := p.freeze()
	next, err := Take(p.cfg, h, nc, p.rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.end()
	p.ours = next
	ended := make(chan struct{})
	go func() { defer close(ended); next.Deconfigure() }()
	p.is("asked to end", func() bool {
		next.mu.Lock()
		defer next.mu.Unlock()
		return len(next.commands) > 0
	})
	p.start()
	<-ended
	p.is("told", func() bool { return strings.Contains(p.neighbor.Status().LastError, "sent cease: peer de-configured") })
}

func TestThaw(t *testing.T) {
	p := newPairOnLoopback(t)
	for i := range 10 {
		p.neighbor.SetAnnouncements(many(500 * (i + 1)))
		_, nc := p.freeze()
		nc.Close() // the other process died
		if _, err := p.ours.Freeze(t.Context()); err == nil {
			t.Error("frozen twice")
		}
		p.ours.Thaw()
	}
	p.is("all heard", func() bool { return len(known(p.rec)) == 5000 })
	p.ours.SetAnnouncements(many(7))
	p.is("told", func() bool { return len(known(p.neighbors)) == 7 })
	p.stood()
}

func TestFreezeWithoutASession(t *testing.T) {
	s := New(config(), &recorder{}, nil)
	if _, err := s.Freeze(t.Context()); err == nil {
		t.Error("a session that does not run was frozen")
	}
	s.dial = func(ctx context.Context, _ *Config) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	runs(t, s)
	for {
		f, err := s.Freeze(t.Context())
		if err != nil {
			continue // Run has not begun
		}
		if f.Handover != nil || f.File != nil {
			t.Errorf("%+v", f)
		}
		break
	}
	s.Thaw()
}

func TestTakeRefuses(t *testing.T) {
	p := newPairOnLoopback(t)
	h, nc := p.freeze()
	defer p.ours.Thaw()
	defer nc.Close()
	for want, change := range map[string]func(*Config, *Handover){
		"connection is from": func(c *Config, _ *Handover) { c.Neighbor = addrB },
		"families":           func(c *Config, _ *Handover) { c.Families = []route.Family{route.IPv6} },
		"bytes of a message": func(_ *Config, h *Handover) { h.Unread = make([]byte, 70_000) },
		"bytes not sent":     func(_ *Config, h *Handover) { h.Unsent = make([]byte, maxUnsent+1) },
		"nothing was agreed": func(_ *Config, h *Handover) { h.Standing.Negotiated = nil },
		"prefixes announced": func(_ *Config, h *Handover) {
			h.Announced = map[route.Family][]route.Announcement{route.IPv4: make([]route.Announcement, maxAnnounced+1)}
		},
	} {
		c, x := p.cfg, *h
		change(&c, &x)
		if _, err := Take(c, &x, nc, p.rec, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Take(p.cfg, nil, nc, p.rec, nil); err == nil {
		t.Error("nothing was taken over")
	}
	var again Handover
	text, _ := json.Marshal(h)
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(&again, h) {
		t.Errorf("%v: %+v became %+v", err, h, again)
	}
}
