package fsm

import (
	"fmt"
	"time"

	"bothways/internal/bgp/message"
)

// cause is why a connection or a session ends.
type cause struct {
	text     string
	sent     *message.Notification
	received *message.Notification
}

// notified reports whether the end was said, or would have been, rather than just happened (RFC 8538, section 4).
func (c cause) notified() bool { return c.sent != nil || c.received != nil }

// hard reports whether no routes may be kept.
func (c cause) hard() bool {
	return c.sent != nil && c.sent.IsHardReset() || c.received != nil && c.received.IsHardReset()
}

// begin puts a new connection into its place and sends our OPEN.
func (t *turn) begin(i int, id ConnID) {
	t.conns[i] = conn{id: id, phase: OpenSent, since: t.now, hold: t.now.Add(openHold)}
	t.do(Send{id, t.p.open(t.restarting)})
}

// drop closes a connection without any further consequence.
func (t *turn) drop(i int, n *message.Notification) {
	if t.conns[i].id != 0 {
		t.do(CloseConn{t.conns[i].id, n})
		t.conns[i] = conn{}
	}
}

func (t *turn) dialed(id ConnID) {
	if !t.dialing {
		t.do(CloseConn{Conn: id})
		return
	}
	t.dialing, t.dialFails = false, 0
	t.begin(outgoing, id)
}

func (t *turn) dialFailed(err error) {
	if !t.dialing {
		return
	}
	t.dialing = false
	t.dialFails++
	t.dialAt = t.now.Add(t.random(doubled(t.dialFails, t.p.ConnectRetry)))
	t.do(Failed{fmt.Sprintf("connect: %v", err)})
}

func (t *turn) accepted(id ConnID) {
	if !t.running || t.refusing && t.dialAt.After(t.now) {
		t.do(CloseConn{id, message.Cease(message.ConnectionRejected, "")})
		return
	}
	standing := t.established()
	if standing < 0 {
		// A second connection from a neighbor that has one means that it gave the first one up.
		t.drop(incoming, nil)
		t.begin(incoming, id)
		return
	}
	// Either this is the echo of a collision, or the neighbor has restarted and does not know of the session any
	// more. A KEEPALIVE finds out: in the second case the neighbor's kernel answers it with a reset. We are silent
	// on the new connection until then.
	t.drop(challenger, nil)
	t.conns[challenger] = conn{id: id, phase: Active, since: t.now, hold: t.now.Add(challengeTime)}
	t.do(Send{t.conns[standing].id, message.Keepalive{}})
}

func (t *turn) closed(i int, err error) {
	if i == challenger {
		t.conns[i] = conn{}
		return
	}
	text := "connection lost"
	if err != nil {
		text = fmt.Sprintf("connection lost: %v", err)
	}
	t.fail(i, cause{text: text})
}

func (t *turn) received(i int, m message.Message) {
	c := &t.conns[i]
	if n, ok := m.(*message.Notification); ok {
		t.notified(i, n)
		return
	}
	switch c.phase {
	case Active:
		if o, ok := m.(*message.Open); ok {
			c.open = o
			t.challenge()
			return
		}
		t.drop(i, unexpected(message.UnexpectedInOpenSent, m.Type()).sent)
	case OpenSent:
		if o, ok := m.(*message.Open); ok {
			t.opened(i, o)
			return
		}
		t.fail(i, unexpected(message.UnexpectedInOpenSent, m.Type()))
	case OpenConfirm:
		switch {
		case c.confirmed && m.Type() != message.TypeOpen:
			t.establish(i) // the neighbor's session stands: it has decided
		case m.Type() == message.TypeKeepalive:
			c.confirmed = true
		default:
			t.fail(i, unexpected(message.UnexpectedInOpenConfirm, m.Type()))
		}
	case Established:
		if m.Type() == message.TypeOpen {
			t.fail(i, unexpected(message.UnexpectedInEstablished, m.Type()))
			return
		}
		t.alive(i, t.now)
	}
}

// unexpected is a message that the phase does not allow (RFC 6608).
func unexpected(s message.Subcode, got message.Type) cause {
	n := &message.Notification{Code: message.CodeFSM, Subcode: s, Data: []byte{byte(got)}}
	return cause{sent: n, text: fmt.Sprintf("%v: %v", n, got)}
}

func (t *turn) updated(i int) {
	switch t.conns[i].phase {
	case Established:
		t.alive(i, t.now)
	case OpenConfirm:
		if t.conns[i].confirmed {
			t.establish(i)
			return
		}
		t.fail(i, unexpected(message.UnexpectedInOpenConfirm, message.TypeUpdate))
	default:
		t.fail(i, unexpected(message.UnexpectedInOpenSent, message.TypeUpdate))
	}
}

func (t *turn) notified(i int, n *message.Notification) {
	if i == challenger {
		t.drop(i, nil)
		return
	}
	t.fail(i, cause{received: n, text: fmt.Sprintf("neighbor sent %v", n)})
}

// alive restarts the hold timer as of at.
func (t *turn) alive(i int, at time.Time) {
	c := &t.conns[i]
	if c.agreed == nil || c.agreed.Hold == 0 || c.phase != Established {
		return
	}
	if until := at.Add(c.agreed.Hold); until.After(c.hold) {
		c.hold = until
	}
}

// opened takes the neighbor's OPEN.
func (t *turn) opened(i int, o *message.Open) {
	agreed, bad := t.p.negotiate(o)
	if bad != nil {
		t.fail(i, cause{sent: bad.Notification, text: bad.Error()})
		return
	}
	if other := rival(i); t.conns[other].id != 0 {
		// RFC 4271 compares with connections in OpenConfirm, and lets those in OpenSent be compared where the
		// identifier is known: it is known now.
		switch wins := t.keeps(o) == i; {
		case wins:
			t.drop(other, message.Cease(message.CollisionResolution, ""))
		case t.conns[other].phase == OpenConfirm:
			t.drop(i, message.Cease(message.CollisionResolution, ""))
			return
		}
	}
	c := &t.conns[i]
	c.open, c.agreed, c.phase, c.since = o, agreed, OpenConfirm, t.now
	t.do(Agreed{c.id, agreed})
	t.do(Send{c.id, message.Keepalive{}})
	c.hold = t.now.Add(openHold) // also without a hold time: the answer must come
	if agreed.Hold > 0 {
		c.hold, c.keepalive = t.now.Add(agreed.Hold), t.now.Add(agreed.Keepalive)
	}
}

// rival is the other place of connections before they are the session.
func rival(i int) int { return outgoing + incoming - i }

// contested reports whether the session should not stand yet on a connection that is ready, because the other one, on
// which the neighbor's OPEN must come any moment, would survive: without the wait the neighbor closes the session as
// soon as it has seen ours. The wait is short, for the other connection may be a dead one.
func (t *turn) contested(i int) bool {
	other := t.conns[rival(i)]
	return other.id != 0 && other.phase == OpenSent && t.keeps(t.conns[i].open) == rival(i) &&
		t.now.Before(other.since.Add(collisionWait))
}

// keeps is the place of the connection that survives a collision: the one made by the speaker with the higher
// identifier (RFC 4271, section 6.8), or AS where they are equal (RFC 6286, section 2.3).
func (t *turn) keeps(o *message.Open) int {
	ours := t.p.RouterID.Compare(o.RouterID)
	if ours > 0 || ours == 0 && t.p.LocalAS > o.AS {
		return outgoing
	}
	return incoming
}

// establish makes the connection the session.
func (t *turn) establish(i int) {
	c := &t.conns[i]
	c.phase, c.since, c.hold = Established, t.now, time.Time{}
	t.alive(i, t.now)
	for other := range t.conns {
		if other != i {
			t.drop(other, message.Cease(message.CollisionResolution, ""))
		}
	}
	if t.dialing {
		t.dialing = false
		t.do(CancelDial{})
	}
	t.restarting = false // RFC 4724, section 4.1: said once
	t.do(Up{c.id, c.agreed})
}
