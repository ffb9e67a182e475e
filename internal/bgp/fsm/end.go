package fsm

import (
	"fmt"
	"time"

	"bothways/internal/bgp/message"
)

// fail ends a connection, and the session if it was the one that stood.
func (t *turn) fail(i int, why cause) {
	c := t.conns[i]
	t.conns[i] = conn{}
	t.do(CloseConn{c.id, why.sent})
	if c.phase == Established {
		t.down(c, why)
		return
	}
	if why.received != nil && why.received.Code == message.CodeCease && why.received.Subcode == message.CollisionResolution {
		// The neighbor resolved a collision; the other connection goes on.
		t.dialAt = t.now.Add(t.random(retryFirst))
		return
	}
	t.do(Failed{why.text})
	t.errors++
	t.wait(why)
}

// down tells of the end of the session and lets a connection that waited for it take its place.
func (t *turn) down(c conn, why cause) {
	d := Down{Conn: c.id, Reason: why.text, Sent: why.sent, Received: why.received}
	if !why.hard() {
		d.Stale = c.agreed.stale(why.notified())
	}
	if len(d.Stale) > 0 {
		d.RestartTime = c.agreed.Graceful.Time
	}
	t.do(d)
	t.errors++
	if t.now.Sub(c.since) >= sessionSettled || why.received != nil && why.received.Code == message.CodeCease {
		// A session that lived, or a neighbor that says that its operator ended it: nothing is wrong with coming
		// back, and soon.
		t.errors = 1
	}
	t.wait(why)
	t.promote()
}

// wait sets when we connect again. Where it was us who found fault with the neighbor, its connections are not taken
// before either: what is wrong will still be wrong (RFC 4271, section 8.1.1, DampPeerOscillations). A hold timer is
// not such a fault.
func (t *turn) wait(why cause) {
	t.dialAt = t.now.Add(t.random(doubled(t.errors, retryMax)))
	t.refusing = why.sent != nil && why.sent.Code != message.CodeHold && why.sent.Code != message.CodeSendHold &&
		why.sent.Code != message.CodeCease
	if t.refusing && t.dialing {
		t.dialing = false
		t.do(CancelDial{})
	}
}

// promote makes the connection that the neighbor made during a session an ordinary one.
func (t *turn) promote() {
	c := t.conns[challenger]
	if c.id == 0 {
		return
	}
	t.conns[challenger] = conn{}
	if t.refusing {
		t.do(CloseConn{c.id, message.Cease(message.ConnectionRejected, "")})
		return
	}
	t.drop(incoming, nil)
	t.begin(incoming, c.id)
	if c.open != nil {
		t.opened(incoming, c.open)
	}
}

// challenge decides whether the neighbor's new connection replaces the session that stands. With graceful restart it
// must (RFC 4724, section 4.2), but a neighbor whose two connections crossed ours looks the same; it is one only in
// the first seconds, and has not restarted. Without graceful restart the session must break by itself.
func (t *turn) challenge() {
	i := t.established()
	if i < 0 {
		return
	}
	c, g := t.conns[i], t.conns[challenger].open.Capabilities.Graceful
	if c.agreed.Graceful == nil || len(c.agreed.Graceful.Families) == 0 {
		return
	}
	restarted := g != nil && g.Restarting && !c.agreed.Graceful.Restarting
	if restarted || t.now.Sub(c.since) >= collisionEcho {
		t.fail(i, cause{text: "neighbor connected anew"})
	}
}

// stop ends everything on our own wish.
func (t *turn) stop(e Stop) {
	for i, c := range t.conns {
		if c.id == 0 {
			continue
		}
		n := e.Notification
		if n != nil && c.agreed != nil && c.agreed.Graceful != nil && c.agreed.Graceful.Notification && ends(n) {
			n = n.Hard()
		}
		if i == challenger {
			n = nil
		}
		t.drop(i, n)
		if c.phase == Established {
			text := "stopped"
			switch {
			case e.Reason != "":
				text = e.Reason
			case e.Notification != nil:
				text = fmt.Sprintf("sent %v", e.Notification)
			}
			t.do(Down{Conn: c.id, Reason: text, Sent: n})
		}
	}
	if t.dialing {
		t.dialing = false
		t.do(CancelDial{})
	}
	t.errors, t.dialFails = 0, 0
	t.running, t.refusing, t.dialAt = e.RetryAfter > 0, e.RetryAfter > 0, time.Time{}
	if t.running {
		t.dialAt = t.now.Add(e.RetryAfter)
	}
}

// ends reports whether we mean that our routes must go, so that a neighbor that keeps them through a NOTIFICATION must
// be told by a hard reset (RFC 8538, section 5).
func ends(n *message.Notification) bool {
	if n.Code != message.CodeCease {
		return false
	}
	switch n.Subcode {
	case message.MaximumPrefixes, message.AdministrativeShutdown, message.PeerDeconfigured:
		return true
	}
	return false
}
