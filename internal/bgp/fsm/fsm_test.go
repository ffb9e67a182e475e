package fsm

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func params() Params {
	return Params{LocalAS: 65010, NeighborAS: 12076, RouterID: netip.MustParseAddr("203.0.113.1"),
		Families: route.Families(), Hold: 90 * time.Second, Extended: true}
}

// peerOpen is the neighbor's OPEN. Its identifier is lower than ours.
func peerOpen(change func(*message.Open)) *message.Open {
	o := &message.Open{Version: 4, AS: 12076, HoldTime: 180 * time.Second, RouterID: netip.MustParseAddr("198.51.100.1"),
		Capabilities: message.Capabilities{Multiprotocol: true, Families: route.Families(), RouteRefresh: true, FourOctetAS: true, Extended: true}}
	if change != nil {
		change(o)
	}
	return o
}

func graceful(restarting, notification bool) func(*message.Open) {
	return func(o *message.Open) {
		o.Capabilities.Graceful = &message.GracefulRestart{Restarting: restarting, Notification: notification, Time: 60 * time.Second,
			Families: []message.GracefulFamily{{Family: route.IPv4, Preserved: true}}}
	}
}

// machine drives a State and says in short what it does.
type machine struct {
	t *testing.T
	State
	now time.Time
	up  *Negotiated
}

func newMachine(t *testing.T, p Params) *machine { return &machine{t: t, State: New(p), now: start} }

// on gives one event and returns the actions as text.
func (m *machine) on(e Event) string {
	m.t.Helper()
	before := m.State
	next, actions := m.State.Handle(m.now, e)
	again, _ := before.Handle(m.now, e)
	if !reflect.DeepEqual(before, m.State) || !reflect.DeepEqual(again, next) {
		m.t.Fatal("Handle is not a function of its inputs")
	}
	m.State = next
	var out []string
	for _, a := range actions {
		switch a := a.(type) {
		case Dial:
			out = append(out, "dial")
		case CancelDial:
			out = append(out, "cancel-dial")
		case Send:
			out = append(out, fmt.Sprintf("send %d %v", a.Conn, a.Msg.Type()))
		case CloseConn:
			s := fmt.Sprintf("close %d", a.Conn)
			if a.Notification != nil {
				s += " " + a.Notification.String()
			}
			out = append(out, s)
		case Agreed:
			out = append(out, fmt.Sprintf("agreed %d", a.Conn))
		case Up:
			m.up = a.Negotiated
			out = append(out, fmt.Sprintf("up %d", a.Conn))
		case Down:
			out = append(out, fmt.Sprintf("down %d %s stale%v", a.Conn, a.Reason, a.Stale))
		case Failed:
			out = append(out, "failed "+a.Reason)
		}
	}
	return strings.Join(out, "; ")
}

func (m *machine) want(e Event, want string) {
	m.t.Helper()
	if got := m.on(e); got != want {
		m.t.Fatalf("%T: %q\nwant %q", e, got, want)
	}
}

// sleep goes to the next tick and returns how far it was.
func (m *machine) sleep() time.Duration {
	m.t.Helper()
	next := m.Next()
	if next.IsZero() {
		m.t.Fatal("nothing to wait for")
	}
	d := next.Sub(m.now)
	m.now = next
	return d
}

// establish brings connection 1, which we made, up.
func (m *machine) establish(o *message.Open) {
	m.t.Helper()
	m.want(Start{}, "dial")
	m.want(Dialed{1}, "send 1 open")
	m.want(Received{1, o}, "agreed 1; send 1 keepalive")
	m.want(Received{1, message.Keepalive{}}, "up 1")
}

func TestEstablish(t *testing.T) {
	m := newMachine(t, params())
	if m.Phase() != Idle || !m.Next().IsZero() {
		t.Error("does something before Start")
	}
	m.want(Start{}, "dial")
	if m.Phase() != Connect {
		t.Error(m.Phase())
	}
	m.want(Dialed{1}, "send 1 open")
	if m.Phase() != OpenSent {
		t.Error(m.Phase())
	}
	m.want(Received{1, peerOpen(nil)}, "agreed 1; send 1 keepalive")
	if m.Phase() != OpenConfirm {
		t.Error(m.Phase())
	}
	m.want(Received{1, message.Keepalive{}}, "up 1")
	if m.Phase() != Established || m.up.Hold != 90*time.Second || m.up.SendHold != 8*time.Minute || !m.up.Extended {
		t.Errorf("%v %+v", m.Phase(), m.up)
	}
	for range 2 {
		if d := m.sleep(); d != 30*time.Second {
			t.Errorf("keepalive after %v", d)
		}
		m.want(Tick{}, "send 1 keepalive")
	}
	m.sleep()
	m.want(Tick{}, "close 1 hold timer expired; down 1 hold timer expired: nothing from the neighbor in 1m30s stale[]")
	if d := m.sleep(); d > time.Second || d < 750*time.Millisecond {
		t.Errorf("comes back after %v", d)
	}
	m.want(Tick{}, "dial")
}

func TestHoldTimerRestarts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event func(now time.Time) Event
	}{
		{"keepalive", func(time.Time) Event { return Received{1, message.Keepalive{}} }},
		{"update", func(time.Time) Event { return Updated{1} }},
		{"route refresh", func(time.Time) Event { return Received{1, &message.RouteRefresh{Family: route.IPv4}} }},
		{"unread", func(now time.Time) Event { return Alive{1, now} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, params())
			m.establish(peerOpen(nil))
			for range 20 {
				m.sleep()
				m.on(Tick{})
				m.want(tt.event(m.now), "")
			}
			if m.Phase() != Established {
				t.Error(m.Phase())
			}
		})
	}
}

func TestHoldZeroMeansNoTimers(t *testing.T) {
	m := newMachine(t, params())
	m.establish(peerOpen(func(o *message.Open) { o.HoldTime = 0 }))
	if !m.Next().IsZero() {
		t.Error("a timer runs")
	}
}

func TestOpenIsJudged(t *testing.T) {
	role := func(r message.Role, strict bool) func(*Params) {
		return func(p *Params) { p.Role = Role{Set: true, Is: r, Strict: strict} }
	}
	for _, tt := range []struct {
		name string
		ours func(*Params)
		open func(*message.Open)
		want string // "" is accepted
	}{
		{"good", nil, nil, ""},
		{"wrong AS", nil, func(o *message.Open) { o.AS = 65001 }, "open error: bad peer AS: wrong AS 65001, want 12076"},
		{"AS of two bytes only", nil, func(o *message.Open) { o.Capabilities.FourOctetAS = false }, ""},
		{"router id 0", nil, func(o *message.Open) { o.RouterID = netip.IPv4Unspecified() }, "open error: bad router id: router id 0.0.0.0"},
		{"our router id, another AS", nil, func(o *message.Open) { o.RouterID = netip.MustParseAddr("203.0.113.1") }, ""},
		{"our router id, our AS", func(p *Params) { p.NeighborAS = 65010 }, func(o *message.Open) {
			o.RouterID, o.AS = netip.MustParseAddr("203.0.113.1"), 65010
		}, "open error: bad router id: router id 203.0.113.1 is ours"},
		{"hold 1", nil, func(o *message.Open) { o.HoldTime = time.Second }, "open error: unacceptable hold time: hold time 1s, want 0 or at least 3s"},
		{"hold 2", nil, func(o *message.Open) { o.HoldTime = 2 * time.Second }, "open error: unacceptable hold time: hold time 2s, want 0 or at least 3s"},
		{"hold 3", nil, func(o *message.Open) { o.HoldTime = 3 * time.Second }, ""},
		{"no family in common", func(p *Params) { p.Families = []route.Family{route.IPv6} }, func(o *message.Open) {
			o.Capabilities.Families = []route.Family{route.IPv4}
		}, "open error: unsupported capability: no family in common: has ipv4, want ipv6"},
		{"no multiprotocol capability is ipv4", func(p *Params) { p.Families = []route.Family{route.IPv6} }, func(o *message.Open) {
			o.Capabilities.Families, o.Capabilities.Multiprotocol = nil, false
		}, "open error: unsupported capability: no family in common: has ipv4, want ipv6"},
		{"role fits", role(message.RoleCustomer, true), func(o *message.Open) {
			o.Capabilities.HasRole, o.Capabilities.Role = true, message.RoleProvider
		}, ""},
		{"role does not fit", role(message.RoleCustomer, false), func(o *message.Open) {
			o.Capabilities.HasRole, o.Capabilities.Role = true, message.RoleCustomer
		}, "open error: role mismatch: role customer does not fit ours, customer"},
		{"no role", role(message.RoleCustomer, false), nil, ""},
		{"no role, strict", role(message.RoleCustomer, true), nil, "open error: role mismatch: announces no role, ours is customer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := params()
			if tt.ours != nil {
				tt.ours(&p)
			}
			m := newMachine(t, p)
			m.want(Start{}, "dial")
			m.want(Dialed{1}, "send 1 open")
			got := m.on(Received{1, peerOpen(tt.open)})
			if tt.want == "" {
				if got != "agreed 1; send 1 keepalive" {
					t.Error(got)
				}
				return
			}
			if !strings.HasSuffix(got, "failed "+tt.want) {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
			// What was wrong will be wrong again: the neighbor is refused for a while, longer each time.
			m.want(Accepted{9}, "close 9 cease: connection rejected")
			if m.Phase() != Idle {
				t.Error(m.Phase())
			}
			var last time.Duration
			for id := ConnID(2); id < 12; id++ {
				last = m.sleep()
				m.want(Tick{}, "dial")
				m.want(Dialed{id}, fmt.Sprintf("send %d open", id))
				m.on(Received{id, peerOpen(tt.open)})
			}
			if last < 45*time.Second || last > 60*time.Second {
				t.Errorf("waits %v", last)
			}
		})
	}
}

func TestDialIsRepeated(t *testing.T) {
	m := newMachine(t, params())
	m.want(Start{}, "dial")
	refused := errors.New("connection refused")
	var waits []time.Duration
	for range 6 {
		m.want(DialFailed{refused}, "failed connect: connection refused")
		if m.Phase() != Active {
			t.Error(m.Phase())
		}
		waits = append(waits, m.sleep())
		m.want(Tick{}, "dial")
	}
	if waits[0] > time.Second || waits[5] > 15*time.Second || waits[5] < 11*time.Second {
		t.Error(waits)
	}
	m.want(DialFailed{refused}, "failed connect: connection refused")
	m.want(Retry{}, "dial") // the carrier is back
}

func TestPassiveDoesNotDial(t *testing.T) {
	p := params()
	p.Passive = true
	m := newMachine(t, p)
	m.want(Start{}, "")
	if !m.Next().IsZero() || m.Phase() != Active {
		t.Error(m.Phase(), m.Next())
	}
	m.want(Accepted{1}, "send 1 open")
	m.want(Received{1, peerOpen(nil)}, "agreed 1; send 1 keepalive")
	m.want(Received{1, message.Keepalive{}}, "up 1")
}

func TestCollision(t *testing.T) {
	for _, tt := range []struct {
		name           string
		ours, theirs   string
		localAS, theAS uint32
		keep           ConnID // 1 is ours, 2 theirs
	}{
		{"our identifier is higher", "203.0.113.1", "198.51.100.1", 65010, 12076, 1},
		{"theirs is higher", "203.0.113.1", "203.0.113.2", 65010, 12076, 2},
		{"equal, our AS is higher", "203.0.113.1", "203.0.113.1", 65010, 12076, 1},
		{"equal, their AS is higher", "203.0.113.1", "203.0.113.1", 64000, 65000, 2},
		{"compared as numbers", "9.0.0.0", "10.0.0.0", 65010, 12076, 2},
	} {
		for _, first := range []ConnID{1, 2} {
			t.Run(fmt.Sprintf("%s, open on %d first", tt.name, first), func(t *testing.T) {
				p := params()
				p.RouterID, p.LocalAS, p.NeighborAS = netip.MustParseAddr(tt.ours), tt.localAS, tt.theAS
				open := peerOpen(func(o *message.Open) { o.RouterID, o.AS = netip.MustParseAddr(tt.theirs), tt.theAS })
				m := newMachine(t, p)
				m.want(Start{}, "dial")
				m.want(Dialed{1}, "send 1 open")
				m.want(Accepted{2}, "send 2 open")
				second := 3 - first
				agreed := func(id ConnID) string { return fmt.Sprintf("agreed %d; send %d keepalive", id, id) }
				lost := 3 - tt.keep
				closed := fmt.Sprintf("close %d cease: connection collision resolution; ", lost)
				if first == tt.keep {
					m.want(Received{first, open}, closed+agreed(first))
					m.want(Received{second, open}, "") // late, nobody's
				} else {
					m.want(Received{first, open}, agreed(first))
					m.want(Received{second, open}, closed+agreed(second))
				}
				m.want(Closed{lost, nil}, "") // late, nobody's
				m.want(Received{tt.keep, message.Keepalive{}}, fmt.Sprintf("up %d", tt.keep))
			})
		}
	}
}

func TestCollisionResolvedByTheNeighbor(t *testing.T) {
	m := newMachine(t, params())
	m.want(Start{}, "dial")
	m.want(Dialed{1}, "send 1 open")
	m.want(Accepted{2}, "send 2 open")
	m.want(Received{2, peerOpen(nil)}, "agreed 2; send 2 keepalive")
	m.want(Received{1, message.Cease(message.CollisionResolution, "")}, "close 1")
	m.want(Received{2, message.Keepalive{}}, "up 2")
}

func TestSecondConnectionOfTheNeighborReplacesItsFirst(t *testing.T) {
	p := params()
	p.Passive = true
	m := newMachine(t, p)
	m.on(Start{})
	m.want(Accepted{1}, "send 1 open")
	m.want(Accepted{2}, "close 1; send 2 open")
}

func TestUpClosesWhatElseIsOpen(t *testing.T) {
	m := newMachine(t, params())
	m.want(Start{}, "dial")
	m.want(Accepted{2}, "send 2 open")
	m.want(Received{2, peerOpen(nil)}, "agreed 2; send 2 keepalive")
	m.want(Received{2, message.Keepalive{}}, "cancel-dial; up 2")
	m.want(Dialed{3}, "close 3")
}

// The connection that would lose a collision is ready first. If the session stood on it at once, the neighbor would
// close it when our OPEN on the other one arrives.
func TestCollisionIsAwaited(t *testing.T) {
	contested := func(t *testing.T) *machine {
		m := newMachine(t, params())
		m.want(Start{}, "dial")
		m.want(Dialed{1}, "send 1 open") // ours is the one that would survive
		m.want(Accepted{2}, "send 2 open")
		m.want(Received{2, peerOpen(nil)}, "agreed 2; send 2 keepalive")
		m.want(Received{2, message.Keepalive{}}, "")
		return m
	}
	t.Run("the other one wins", func(t *testing.T) {
		m := contested(t)
		m.want(Received{1, peerOpen(nil)}, "close 2 cease: connection collision resolution; agreed 1; send 1 keepalive")
		m.want(Received{1, message.Keepalive{}}, "up 1")
	})
	t.Run("the neighbor takes this one", func(t *testing.T) {
		m := contested(t)
		m.want(Updated{2}, "close 1 cease: connection collision resolution; up 2")
	})
	t.Run("the neighbor closes the other one", func(t *testing.T) {
		m := contested(t)
		m.want(Received{1, message.Cease(message.CollisionResolution, "")}, "close 1; up 2")
	})
	t.Run("the other one is dead", func(t *testing.T) {
		m := contested(t)
		if d := m.sleep(); d != collisionWait {
			t.Error(d)
		}
		m.want(Tick{}, "close 1 cease: connection collision resolution; up 2")
	})
}

func TestUnexpectedMessages(t *testing.T) {
	m := newMachine(t, params())
	m.want(Start{}, "dial")
	m.want(Dialed{1}, "send 1 open")
	if got := m.on(Received{1, message.Keepalive{}}); !strings.HasPrefix(got, "close 1 state machine error: unexpected message in open-sent") {
		t.Error(got)
	}
	m = newMachine(t, params())
	m.want(Start{}, "dial")
	m.want(Dialed{1}, "send 1 open")
	m.want(Received{1, peerOpen(nil)}, "agreed 1; send 1 keepalive")
	if got := m.on(Updated{1}); !strings.HasPrefix(got, "close 1 state machine error: unexpected message in open-confirm") {
		t.Error(got)
	}
	m = newMachine(t, params())
	m.establish(peerOpen(nil))
	if got := m.on(Received{1, peerOpen(nil)}); !strings.HasPrefix(got, "close 1 state machine error: unexpected message in established; down 1") {
		t.Error(got)
	}
}

func TestBackOff(t *testing.T) {
	// wait brings the session up with connection id, ends it with e, and returns how long we wait then.
	wait := func(m *machine, id ConnID, lived time.Duration, e Event) time.Duration {
		m.on(Dialed{id})
		m.on(Received{id, peerOpen(nil)})
		m.want(Received{id, message.Keepalive{}}, fmt.Sprintf("up %d", id))
		m.now = m.now.Add(lived)
		m.on(e)
		d := m.sleep()
		m.want(Tick{}, "dial")
		return d
	}
	m := newMachine(t, params())
	m.want(Start{}, "dial")
	var last time.Duration
	id := ConnID(1)
	for ; id < 10; id++ {
		last = wait(m, id, time.Second, Closed{id, nil})
	}
	if last < 40*time.Second {
		t.Errorf("a session that flaps comes back after %v", last)
	}
	if d := wait(m, id, time.Second, Received{id, message.Cease(message.AdministrativeReset, "")}); d > time.Second {
		t.Errorf("after an operator's reset we wait %v", d)
	}
	id++
	wait(m, id, time.Second, Closed{id, nil})
	id++
	if d := wait(m, id, time.Minute, Closed{id, nil}); d > time.Second {
		t.Errorf("after a session that lived we wait %v", d)
	}
}

func TestStopWithRetry(t *testing.T) {
	m := newMachine(t, params())
	m.establish(peerOpen(nil))
	m.want(Stop{Notification: message.Cease(message.MaximumPrefixes, ""), RetryAfter: time.Minute},
		"close 1 cease: maximum number of prefixes reached; down 1 sent cease: maximum number of prefixes reached stale[]")
	m.want(Accepted{2}, "close 2 cease: connection rejected")
	m.want(Retry{}, "")
	if d := m.sleep(); d != time.Minute {
		t.Error(d)
	}
	m.want(Tick{}, "dial")
	m.want(Accepted{3}, "send 3 open")
}

func TestPause(t *testing.T) {
	m := newMachine(t, params())
	m.establish(peerOpen(nil))
	m.want(Stop{Reason: "no carrier"}, "close 1; down 1 no carrier stale[]")
	m.want(Retry{}, "")
	m.want(Tick{}, "")
	m.want(Start{}, "dial")
}

func TestStopCancelsADial(t *testing.T) {
	m := newMachine(t, params())
	m.want(Start{}, "dial")
	m.want(Stop{}, "cancel-dial")
	m.want(Dialed{1}, "close 1")
	m.want(DialFailed{errors.New("cancelled")}, "")
}

func TestOpenHold(t *testing.T) {
	m := newMachine(t, params())
	m.want(Start{}, "dial")
	m.want(Dialed{1}, "send 1 open")
	if d := m.sleep(); d != openHold {
		t.Error(d)
	}
	m.want(Tick{}, "close 1 hold timer expired; failed no open from the neighbor in 4m0s")
}
