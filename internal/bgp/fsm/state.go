package fsm

import (
	"fmt"
	"time"

	"bothways/internal/bgp/message"
)

// Phase is a state of RFC 4271, section 8.2.2.
type Phase uint8

// Phases.
const (
	Idle Phase = iota
	Connect
	Active
	OpenSent
	OpenConfirm
	Established
)

func (p Phase) String() string {
	switch p {
	case Idle:
		return "Idle"
	case Connect:
		return "Connect"
	case Active:
		return "Active"
	case OpenSent:
		return "OpenSent"
	case OpenConfirm:
		return "OpenConfirm"
	case Established:
		return "Established"
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

// Places of connections.
const (
	outgoing   = iota // we connected
	incoming          // the neighbor connected
	challenger        // the neighbor connected while a session stands; we have sent nothing on it yet
	places
)

// conn is one connection; its id is 0 where there is none.
type conn struct {
	id        ConnID
	phase     Phase     // OpenSent, OpenConfirm or Established; Active for a challenger
	since     time.Time // when the phase began
	hold      time.Time // when the neighbor must have been heard of; zero for never
	keepalive time.Time // when to send the next one; zero for never
	open      *message.Open
	agreed    *Negotiated
	confirmed bool // the neighbor has answered our OPEN; see contested
}

// State is the machine. It is a value: Handle returns the next one and leaves the receiver alone.
type State struct {
	p          Params
	running    bool
	refusing   bool // until dialAt the neighbor's connections are not taken either
	dialing    bool
	dialAt     time.Time // not before it do we connect
	dialFails  int       // in a row
	errors     int       // sessions that failed, in a row
	restarting bool
	jitter     uint64
	conns      [places]conn
}

// New makes a machine that waits for Start.
func New(p Params) State {
	if p.ConnectRetry == 0 {
		p.ConnectRetry = connectRetry
	}
	return State{p: p, restarting: p.Graceful.Restarting, jitter: p.Seed}
}

// Phase is how far the connection that is furthest has come.
func (s State) Phase() Phase {
	best := Idle
	if s.running && !s.refusing {
		best = Active
		if s.dialing {
			best = Connect
		}
	}
	for i, c := range s.conns {
		if c.id == 0 || i == challenger {
			continue
		}
		if best < OpenSent || c.phase > best {
			best = c.phase
		}
	}
	return best
}

// Next is when Tick is due, or zero for never.
func (s State) Next() time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if s.wantsDial() || s.refusing {
		sooner(s.dialAt)
	}
	for i, c := range s.conns {
		if c.id != 0 {
			sooner(c.hold)
			sooner(c.keepalive)
		}
		if c.confirmed && c.phase == OpenConfirm {
			sooner(s.conns[rival(i)].since.Add(collisionWait))
		}
	}
	return next
}

// wantsDial reports whether we connect as soon as dialAt has come. That the neighbor has connected to us does not keep
// us from it before its OPEN has come: its connection may be a dead one.
func (s *State) wantsDial() bool {
	return s.running && !s.p.Passive && !s.dialing && s.conns[outgoing].id == 0 && s.established() < 0 &&
		s.conns[incoming].phase != OpenConfirm
}

// established is the place of the session that stands, or -1.
func (s *State) established() int {
	for i, c := range s.conns {
		if c.id != 0 && c.phase == Established {
			return i
		}
	}
	return -1
}

// Handle takes one event.
func (s State) Handle(now time.Time, e Event) (State, []Action) {
	t := turn{State: s, now: now}
	t.handle(e)
	for i := range challenger {
		if c := t.conns[i]; c.confirmed && c.phase == OpenConfirm && !t.contested(i) {
			t.establish(i)
		}
	}
	if t.refusing && !t.dialAt.After(now) {
		t.refusing = false
	}
	if t.wantsDial() && !t.dialAt.After(now) {
		t.dialing = true
		t.do(Dial{})
	}
	return t.State, t.actions
}

// turn is the handling of one event.
type turn struct {
	State
	now     time.Time
	actions []Action
}

func (t *turn) do(a Action) { t.actions = append(t.actions, a) }

func (t *turn) handle(e Event) {
	switch e := e.(type) {
	case Start:
		if !t.running {
			t.running, t.refusing, t.dialAt = true, false, t.now
		}
	case Stop:
		t.stop(e)
	case Retry:
		t.dialFails = 0
		if !t.refusing {
			t.dialAt = t.now
		}
	case Dialed:
		t.dialed(e.Conn)
	case DialFailed:
		t.dialFailed(e.Err)
	case Accepted:
		t.accepted(e.Conn)
	case Tick:
		t.tick()
	case Closed:
		if i := t.place(e.Conn); i >= 0 {
			t.closed(i, e.Err)
		}
	case Received:
		if i := t.place(e.Conn); i >= 0 {
			t.received(i, e.Msg)
		}
	case Updated:
		if i := t.place(e.Conn); i >= 0 {
			t.updated(i)
		}
	case Malformed:
		if i := t.place(e.Conn); i >= 0 {
			t.fail(i, cause{sent: e.Err.Notification, text: e.Err.Error()})
		}
	case SendBlocked:
		if i := t.place(e.Conn); i >= 0 {
			// The NOTIFICATION will hardly get out, but RFC 9687, section 3.2, has it tried.
			t.fail(i, cause{sent: &message.Notification{Code: message.CodeSendHold}, text: "send hold timer expired"})
		}
	case Alive:
		if i := t.place(e.Conn); i >= 0 {
			t.alive(i, e.At)
		}
	}
}

// place finds a connection, or -1: events of connections that were closed come late and are nobody's.
func (s *State) place(id ConnID) int {
	for i, c := range s.conns {
		if c.id == id && id != 0 {
			return i
		}
	}
	return -1
}

// tick does what is due.
func (t *turn) tick() {
	for i := range t.conns {
		c := &t.conns[i]
		if c.id == 0 {
			continue
		}
		if !c.hold.IsZero() && !c.hold.After(t.now) {
			if i == challenger {
				// The session that stands has proved to be alive (RFC 4271, section 6.8).
				t.drop(i, message.Cease(message.CollisionResolution, ""))
				continue
			}
			t.fail(i, cause{sent: &message.Notification{Code: message.CodeHold}, text: t.expired(c)})
			continue
		}
		if !c.keepalive.IsZero() && !c.keepalive.After(t.now) {
			c.keepalive = t.now.Add(c.agreed.Keepalive)
			t.do(Send{c.id, message.Keepalive{}})
		}
	}
}

func (t *turn) expired(c *conn) string {
	if c.agreed == nil {
		return fmt.Sprintf("no open from the neighbor in %v", openHold)
	}
	if c.agreed.Hold == 0 {
		return fmt.Sprintf("nothing from the neighbor in %v", openHold)
	}
	return fmt.Sprintf("hold timer expired: nothing from the neighbor in %v", c.agreed.Hold)
}

// random gives the next jitter, 75 to 100 percent of d (RFC 4271, section 10), by splitmix64.
func (s *State) random(d time.Duration) time.Duration {
	s.jitter += 0x9e3779b97f4a7c15
	z := s.jitter
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return d - time.Duration(z%1000)*d/4000
}

// doubled is the wait after n failures in a row, up to limit.
func doubled(n int, limit time.Duration) time.Duration {
	d := retryFirst
	for ; n > 1 && d < limit; n-- {
		d *= 2
	}
	return min(d, limit)
}
