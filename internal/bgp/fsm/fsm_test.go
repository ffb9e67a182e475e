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
				m.want(Received{first, open}, fmt.Sprintf("agreed %d; send %d keepalive", first, first))
				lost := 3 - tt.keep
				want := fmt.Sprintf("close %d cease: connection collision resolution", lost)
				if second == tt.keep {
					want += fmt.Sprintf("; agreed %d; send %d keepalive", second, second)
				}
				m.want(Received{second, open}, want)
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

	m = newMachine(t, params())
	m.want(Start{}, "dial")
	m.want(Dialed{1}, "send 1 open")
	m.want(Accepted{2}, "send 2 open")
	m.want(Received{1, peerOpen(nil)}, "agreed 1; send 1 keepalive")
	m.want(Received{1, message.Keepalive{}}, "close 2 cease: connection collision resolution; up 1")
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

func TestStale(t *testing.T) {
	admin := message.Cease(message.AdministrativeReset, "")
	broken := &message.NotificationError{Notification: &message.Notification{Code: message.CodeUpdate, Subcode: 1}}
	for _, tt := range []struct {
		name  string
		off   bool
		open  func(*message.Open)
		event Event
		stale bool
	}{
		{"lost", false, graceful(false, false), Closed{1, nil}, true},
		{"lost, not agreed on", false, nil, Closed{1, nil}, false},
		{"lost, not ours", true, graceful(false, true), Closed{1, nil}, false},
		{"notification", false, graceful(false, false), Received{1, admin}, false},
		{"notification, N", false, graceful(false, true), Received{1, admin}, true},
		{"hard reset, N", false, graceful(false, true), Received{1, admin.Hard()}, false},
		{"our notification", false, graceful(false, false), Malformed{1, broken}, false},
		{"our notification, N", false, graceful(false, true), Malformed{1, broken}, true},
		{"send hold", false, graceful(false, false), SendBlocked{1}, false},
		{"send hold, N", false, graceful(false, true), SendBlocked{1}, true},
		{"hold", false, graceful(false, false), Tick{}, false},
		{"hold, N", false, graceful(false, true), Tick{}, true},
		{"stopped by us", false, graceful(false, true), Stop{Notification: admin}, false},
		{"abandoned by us", false, graceful(false, true), Stop{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := params()
			p.Graceful.Enabled = !tt.off
			m := newMachine(t, p)
			m.establish(peerOpen(tt.open))
			if tt.event == (Tick{}) {
				m.now = m.now.Add(90 * time.Second)
			}
			got := m.on(tt.event)
			want := "stale[]"
			if tt.stale {
				want = "stale[ipv4]" // the neighbor's capability names no other
			}
			if !strings.Contains(got, want) {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func TestStopIsAHardResetWhereRoutesWouldBeKept(t *testing.T) {
	p := params()
	p.Graceful.Enabled = true
	m := newMachine(t, p)
	m.establish(peerOpen(graceful(false, true)))
	m.want(Stop{Notification: message.Cease(message.AdministrativeShutdown, "bye")},
		`close 1 cease: hard reset (cease: administrative shutdown "bye"); down 1 sent cease: administrative shutdown "bye" stale[]`)
	if !m.Next().IsZero() {
		t.Error("goes on after Stop")
	}
	m.want(Accepted{2}, "close 2 cease: connection rejected")
	m.want(Start{}, "dial")
}

func TestRestartingIsSaidOnce(t *testing.T) {
	p := params()
	p.Graceful = Graceful{Enabled: true, Restarting: true, Preserved: true}
	m := newMachine(t, p)
	said := func(e Event) *message.GracefulRestart {
		var actions []Action
		m.State, actions = m.State.Handle(m.now, e)
		return actions[len(actions)-1].(Send).Msg.(*message.Open).Capabilities.Graceful
	}
	m.on(Start{})
	if g := said(Dialed{1}); !g.Restarting || !g.Notification || g.Time != 120*time.Second || !g.Preserved(route.IPv6) {
		t.Errorf("%+v", g)
	}
	m.on(Received{1, peerOpen(nil)})
	m.want(Received{1, message.Keepalive{}}, "up 1")
	m.on(Closed{1, nil})
	if g := said(Accepted{2}); g.Restarting {
		t.Error("R bit in a later session")
	}
}

func TestNeighborThatRestartedUnseen(t *testing.T) {
	withGR := func(g bool) *machine {
		p := params()
		p.Graceful.Enabled = g
		m := newMachine(t, p)
		m.establish(peerOpen(graceful(false, true)))
		return m
	}
	t.Run("its kernel resets the old connection", func(t *testing.T) {
		m := withGR(false)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(nil)}, "")
		m.want(Closed{1, errors.New("reset")}, "close 1; down 1 connection lost: reset stale[]; send 2 open; agreed 2; send 2 keepalive")
		m.want(Received{2, message.Keepalive{}}, "up 2")
	})
	t.Run("the old session is alive", func(t *testing.T) {
		m := withGR(false)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(nil)}, "")
		if d := m.sleep(); d != challengeTime {
			t.Error(d)
		}
		m.want(Tick{}, "close 2 cease: connection collision resolution")
		if m.Phase() != Established {
			t.Error(m.Phase())
		}
	})
	t.Run("it says that it restarts", func(t *testing.T) {
		m := withGR(true)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(graceful(true, true))},
			"close 1; down 1 neighbor connected anew stale[ipv4]; send 2 open; agreed 2; send 2 keepalive")
	})
	t.Run("it does not say so, but the session is old", func(t *testing.T) {
		m := withGR(true)
		m.now = m.now.Add(20 * time.Second)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(graceful(false, true))},
			"close 1; down 1 neighbor connected anew stale[ipv4]; send 2 open; agreed 2; send 2 keepalive")
	})
	t.Run("it is the echo of a collision", func(t *testing.T) {
		m := withGR(true)
		m.want(Accepted{2}, "send 1 keepalive")
		m.want(Received{2, peerOpen(graceful(false, true))}, "")
		m.want(Received{2, message.Cease(message.CollisionResolution, "")}, "close 2")
	})
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
	m.want(Stop{message.Cease(message.MaximumPrefixes, ""), time.Minute},
		"close 1 cease: maximum number of prefixes reached; down 1 sent cease: maximum number of prefixes reached stale[]")
	m.want(Accepted{2}, "close 2 cease: connection rejected")
	m.want(Retry{}, "")
	if d := m.sleep(); d != time.Minute {
		t.Error(d)
	}
	m.want(Tick{}, "dial")
	m.want(Accepted{3}, "send 3 open")
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
