package fsm

import (
	"fmt"
	"time"

	"bothways/internal/bfd/packet"
)

// Receive takes a packet of the neighbor that came at a time (RFC 5880, section 6.8.6, from where the session is known).
func (s State) Receive(at time.Time, c *packet.Control) (State, Output) {
	t := turn{State: s, now: at, interval: s.Interval()}
	t.remote = remote{
		state: c.State, diag: c.Diag, discriminator: c.MyDiscriminator, minTx: c.DesiredMinTx, minRx: c.RequiredMinRx,
		multiplier: c.Multiplier, demand: c.Demand,
	}
	if t.last.Before(at) {
		t.last = at
	}
	if c.Final && t.poll {
		t.final()
	}
	t.follow(c.State)
	if c.Poll && t.state != packet.AdminDown {
		// A Poll is answered at once, out of turn, and the answer is not one itself (section 6.5).
		t.out.Send, t.out.Packet = true, t.packet()
		t.out.Packet.Poll, t.out.Packet.Final = false, true
		if t.tell {
			// What is new has gone out with it; a Poll of our own follows without delay.
			t.tell, t.sent = false, t.now
			t.schedule()
			if t.poll {
				t.next = t.now
			}
		}
	}
	return t.done()
}

// follow is the state machine of section 6.2 for what the neighbor's state is.
func (t *turn) follow(neighbor packet.State) {
	switch {
	case t.state == packet.AdminDown:
	case neighbor == packet.AdminDown:
		if t.state != packet.Down {
			t.enter(packet.Down, packet.NeighborSignaledDown)
		}
		t.judge(Administrative, "the neighbor is administratively down")
	case t.state == packet.Down && neighbor == packet.Down:
		t.enter(packet.Init, t.diag)
	case t.state == packet.Down && neighbor == packet.Init, t.state == packet.Init && neighbor != packet.Down:
		t.enter(packet.Up, packet.NoDiagnostic)
		t.judge(Up, "the neighbor hears us")
	case t.state == packet.Up && neighbor == packet.Down:
		t.enter(packet.Down, packet.NeighborSignaledDown)
		if t.remote.diag == packet.AdministrativelyDown {
			// Some say this with the state Down and not AdminDown. It is no failure of the path either.
			t.judge(Administrative, "the neighbor ended the session administratively")
			return
		}
		t.judge(Failed, fmt.Sprintf("the neighbor signaled down: %v", t.remote.diag))
	}
}

// Tick does what is due.
func (s State) Tick(now time.Time) (State, Output) {
	t := turn{State: s, now: now, interval: s.Interval()}
	if due := t.expiry(); !due.IsZero() && !due.After(now) {
		t.expire(due)
	}
	if !t.next.IsZero() && !t.next.After(now) {
		t.tell = true
	}
	return t.done()
}

// expire is the end of the detection time.
func (t *turn) expire(due time.Time) {
	detection := t.Detection()
	t.remote = forgotten()
	t.poll, t.pollAgain = false, false
	t.tx.used, t.rx.used = t.tx.announced, t.rx.announced
	if t.state != packet.Init && t.state != packet.Up {
		return
	}
	was := t.state
	t.enter(packet.Down, packet.DetectionTimeExpired)
	if was == packet.Up {
		t.judge(Failed, fmt.Sprintf("nothing from the neighbor in %v", detection))
		t.out.Change.Detection, t.out.Change.Due = detection, due
	}
}

// Set changes what we want of the session. The discriminator and the seed stay.
func (s State) Set(now time.Time, p Params) (State, Output) {
	t := turn{State: s, now: now, interval: s.Interval()}
	p.Discriminator, p.Seed = t.p.Discriminator, t.p.Seed
	was := t.p
	t.p = p
	switch {
	case p.AdminDown && !was.AdminDown:
		t.enter(packet.AdminDown, packet.AdministrativelyDown)
		t.judge(Administrative, "administratively down")
	case !p.AdminDown && was.AdminDown:
		t.enter(packet.Down, packet.NoDiagnostic)
	}
	t.wish()
	if p.Multiplier != was.Multiplier {
		t.tell = true // takes effect at once (section 6.8.12)
	}
	return t.done()
}

// turn is the handling of one input.
type turn struct {
	State
	now      time.Time
	interval time.Duration // as it was before
	tell     bool          // the neighbor is to be told now
	out      Output
}

// enter changes the state.
func (t *turn) enter(s packet.State, d packet.Diag) {
	if s != t.state {
		t.state, t.since = s, t.now
		t.tell = true // section 6.8.7: what differs should not wait for its turn
	}
	t.diag = d
	t.wish()
}

// judge changes the verdict.
func (t *turn) judge(v Verdict, reason string) {
	if v == t.verdict {
		return
	}
	t.verdict = v
	t.out.Changed = true
	t.out.Change = Change{Verdict: v, Reason: reason, Last: t.last, Detection: t.Detection(), Due: t.now}
}

// wish sets our intervals to what we want of a session in this state. A change that would have the neighbor see too few
// packets, or us wait for too many, holds only when the neighbor has confirmed it (section 6.8.3).
func (t *turn) wish() {
	tx, rx := t.p.Interval, t.p.MinReceive
	if t.state != packet.Up {
		tx = max(tx, slowest)
	}
	if tx == t.tx.announced && rx == t.rx.announced {
		if t.state != packet.Up {
			t.tx.used, t.rx.used = tx, rx
		}
		return
	}
	t.tx.announced, t.rx.announced = tx, rx
	if t.state != packet.Up || tx < t.tx.used {
		t.tx.used = tx
	}
	if t.state != packet.Up || rx > t.rx.used {
		t.rx.used = rx
	}
	t.tell = true
	switch {
	case t.remote.discriminator == 0: // nobody to ask
	case t.poll:
		t.pollAgain = true
	default:
		t.poll = true
	}
}

// final ends the Poll Sequence. What changed while it was under way needs another one.
func (t *turn) final() {
	if t.pollAgain {
		t.pollAgain = false
		return
	}
	t.poll = false
	t.tx.used, t.rx.used = t.tx.announced, t.rx.announced
}

// done sends what is to be sent, and times the next packet.
func (t *turn) done() (State, Output) {
	switch {
	case t.tell:
		t.sent = t.now
		t.out.Send, t.out.Packet = true, t.packet()
		t.schedule()
	case t.Interval() != t.interval:
		if t.next.IsZero() || !t.next.Equal(t.now) {
			t.schedule()
		}
	}
	return t.State, t.out
}

// Resend has the machine say at once what it last said, for what it said may not have left.
func (s State) Resend(now time.Time) (State, Output) {
	t := turn{State: s, now: now, interval: s.Interval(), tell: true}
	return t.done()
}
