package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// peer is a neighbor that does only what a test tells it to.
type peer struct {
	t *testing.T
	net.Conn
}

// scripted starts a session whose dials all reach peers.
func scripted(t *testing.T, change func(*Config)) (*Session, *recorder, chan *peer) {
	cfg := config()
	if change != nil {
		change(&cfg)
	}
	rec, peers := &recorder{}, make(chan *peer, 16)
	s := New(cfg, rec, nil)
	s.dial = func(context.Context, *Config) (net.Conn, error) {
		if len(peers) == cap(peers) {
			return nil, errors.New("refused")
		}
		a, b := net.Pipe()
		peers <- &peer{t, b}
		t.Cleanup(func() { b.Close() })
		return a, nil
	}
	runs(t, s)
	return s, rec, peers
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// next reads one message.
func (p *peer) next() (message.Type, []byte, error) {
	head := make([]byte, message.HeaderLen)
	if _, err := io.ReadFull(p, head); err != nil {
		return 0, nil, err
	}
	typ, n, err := message.ParseHeader(head, true)
	if err != nil {
		return 0, nil, err
	}
	body := make([]byte, n-message.HeaderLen)
	_, err = io.ReadFull(p, body)
	return typ, body, err
}

func (p *peer) want(typ message.Type) []byte {
	p.t.Helper()
	got, body, err := p.next()
	if err != nil || got != typ {
		p.t.Fatalf("got %v, %v; want %v", got, err, typ)
	}
	return body
}

// establish answers the session's OPEN.
func (p *peer) establish() {
	p.t.Helper()
	p.want(message.TypeOpen)
	c := neighborConfig()
	o := &message.Open{AS: c.LocalAS, HoldTime: 90 * time.Second, RouterID: c.RouterID, Capabilities: message.Capabilities{
		Families: route.Families(), FourOctetAS: true, RouteRefresh: true, Extended: true}}
	p.send(o.AppendTo(nil))
	p.want(message.TypeKeepalive)
	p.send(message.Keepalive{}.AppendTo(nil))
}

// drain reads and forgets, and counts the messages in a channel that holds the last count.
func (p *peer) drain() (count func() int) {
	seen := make(chan int, 1)
	seen <- 0
	go func() {
		for {
			if _, _, err := p.next(); err != nil {
				return
			}
			seen <- <-seen + 1
		}
	}()
	return func() int { n := <-seen; seen <- n; return n }
}

func peerUpdates(n int) []byte {
	e := message.Encoder{Options: message.Options{FourOctetAS: true, Families: route.Families()}, LocalAS: 12076,
		NextHop: map[route.Family]netip.Addr{route.IPv4: addrB}}
	var out []byte
	for i := range n {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		out, _ = e.Announce(out, route.IPv4, []route.Announcement{{Prefix: p}})
	}
	return out
}

func TestSilentNeighborIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, rec, peers := scripted(t, nil)
		p := <-peers
		p.establish()
		p.drain()
		time.Sleep(89 * time.Second)
		synctest.Wait()
		if s.Status().Phase != fsm.Established {
			t.Error("given up too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got, want := kinds(rec.take()), "up down(hold timer expired: nothing from the neighbor in 1m30s)"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestNeighborThatDoesNotReadIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, rec, peers := scripted(t, nil)
		p := <-peers
		p.establish()
		p.want(message.TypeUpdate) // End-of-RIB, and from here on it reads nothing
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Second):
					if _, err := p.Write(message.Keepalive{}.AppendTo(nil)); err != nil {
						return
					}
				}
			}
		}()
		defer close(stop)
		for i := range 100 { // the set changes all the time, which must not pile up
			s.SetAnnouncements(announcements(fmt.Sprintf("10.0.%d.0/24", i)))
			time.Sleep(4 * time.Second)
		}
		synctest.Wait()
		if s.Status().Phase != fsm.Established {
			t.Fatal(s.Status())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got, want := kinds(rec.take()), "up down(send hold timer expired)"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestSlowSinkSlowsTheNeighborAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, rec, peers := scripted(t, nil)
		p := <-peers
		p.establish()
		time.Sleep(time.Second)
		synctest.Wait()
		unblock := rec.block()
		count := p.drain()
		const messages = 3000
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range messages { // one write each, so that there are many events
				p.Write(peerUpdates(1))
			}
			p.Write(message.Keepalive{}.AppendTo(nil))
		}()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		select {
		case <-sent:
			t.Error("the neighbor was not slowed down")
		default:
		}
		if st := s.Status(); st.Phase != fsm.Established || st.Established != 1 {
			t.Errorf("%+v", st)
		}
		if n := count(); n < 20 {
			t.Errorf("only %d keepalives in ten minutes", n)
		}
		unblock()
		synctest.Wait()
		<-sent
		n := 0
		for _, e := range rec.take() {
			if u, ok := e.(Updates); ok {
				n += len(u.Updates)
			}
		}
		if n != messages || s.Status().In.Updates != messages {
			t.Errorf("%d of %d UPDATEs told, %+v", n, messages, s.Status())
		}
		time.Sleep(2 * time.Minute) // now it is silent, and that counts
		synctest.Wait()
		if s.Status().Established != 1 || s.Status().LastErrorAt.IsZero() {
			t.Errorf("%+v", s.Status())
		}
	})
}

func TestBatchesHoldWhatOneReadBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, rec, peers := scripted(t, nil)
		p := <-peers
		p.establish()
		p.drain()
		p.send(peerUpdates(1000))
		synctest.Wait()
		events, n := rec.take(), 0
		for _, e := range events {
			if u, ok := e.(Updates); ok {
				n += len(u.Updates)
			}
		}
		if n != 1000 || len(events) > 4 {
			t.Errorf("%d UPDATEs in %d events", n, len(events))
		}
	})
}

func TestErrorsInUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, rec, peers := scripted(t, nil)
		p := <-peers
		p.establish()
		synctest.Wait()
		for range 2 {
			p.want(message.TypeUpdate) // the End-of-RIB markers
		}
		broken := peerUpdates(3)
		for i := range 3 {
			broken[len(broken)/3*i+23+3] = 9 // the value of ORIGIN
		}
		p.send(broken)
		synctest.Wait()
		if got := kinds(rec.take()); got != "up updates diagnostic(treat-as-withdraw: ORIGIN: value 9)" {
			t.Error(got)
		}
		if d := says(rec.take()); d != "" {
			t.Error(d)
		}

		good, bad := peerUpdates(1), peerUpdates(1)
		bad[len(bad)-4] = 77 // the length of the prefix
		p.send(append(good, bad...))
		n, err := message.ParseNotification(p.want(message.TypeNotification))
		if err != nil || n.Code != message.CodeUpdate || n.Subcode != message.InvalidNetworkField {
			t.Errorf("%v %v", n, err)
		}
		p.Close()
		synctest.Wait()
		if got := kinds(rec.take()); !strings.HasPrefix(got, "updates down(update error: invalid network field") {
			t.Error(got)
		}
	})
}

func TestNothingOfAnOldSessionComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, rec, peers := scripted(t, nil)
		p := <-peers
		p.establish()
		p.drain()
		synctest.Wait()
		unblock := rec.block()
		go p.Write(peerUpdates(50))
		synctest.Wait()
		s.Reset("test")
		go p.Write(peerUpdates(50))
		synctest.Wait()
		unblock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		got := kinds(rec.take())
		if _, after, ok := strings.Cut(got, "down("); !ok || strings.Contains(after, "updates") {
			t.Error(got)
		}
	})
}

func TestWrongASIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, ra, _ := connectedPair(t, func(a, _ *Config) { a.NeighborAS = 65001 })
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := a.Status().LastError, "open error: bad peer AS: wrong AS 12076, want 65001"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := kinds(ra.take()); got != "" {
			t.Error(got)
		}
	})
}

func TestRunsOnceAndEndsQuietly(t *testing.T) {
	s := New(config(), SinkFunc(func(context.Context, Event) {}), nil)
	s.Shutdown("never ran")
	if err := s.Run(context.Background()); err == nil {
		t.Error("runs after Shutdown")
	}
	s = New(config(), SinkFunc(func(context.Context, Event) {}), nil)
	s.dial = func(ctx context.Context, _ *Config) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	s.Retry()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
