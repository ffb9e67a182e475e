package fsm

import (
	"fmt"
	"slices"
	"time"

	"bothways/internal/route"
)

// Standing is a session that stands, as one process tells another that is to go on with it. The connection is not in it:
// the other process knows it by a number of its own.
type Standing struct {
	Negotiated *Negotiated
	Outgoing   bool      // we had connected
	Since      time.Time // when it came up
	Hold       time.Time // when the neighbor must have been heard of; zero for never
	Keepalive  time.Time // when to send the next one; zero for never
	Errors     int       // sessions that failed in a row before it; see State.down
	Jitter     uint64
}

// Standing returns the session that stands, with its connection; ok is false where there is none.
func (s State) Standing() (st Standing, conn ConnID, ok bool) {
	i := s.established()
	if i < 0 {
		return Standing{}, 0, false
	}
	c := s.conns[i]
	return Standing{
		Negotiated: c.agreed, Outgoing: i == outgoing, Since: c.since, Hold: c.hold, Keepalive: c.keepalive,
		Errors: s.errors, Jitter: s.jitter,
	}, c.id, true
}

// Resume makes a machine in which the session stands on a connection. It goes on where the one that gave st stopped:
// there is no Up, and what is due since then is done at the next Tick. The error says what no session can stand on.
func Resume(p Params, st Standing, conn ConnID) (State, error) {
	if err := st.check(&p); err != nil {
		return State{}, fmt.Errorf("session cannot be resumed: %w", err)
	}
	s := New(p)
	s.running, s.restarting, s.errors, s.jitter = true, false, st.Errors, st.Jitter
	i := incoming
	if st.Outgoing {
		i = outgoing
	}
	s.conns[i] = standing(conn, st)
	return s, nil
}

func standing(id ConnID, st Standing) conn {
	return conn{
		id: id, phase: Established, since: st.Since, hold: st.Hold, keepalive: st.Keepalive, agreed: st.Negotiated, confirmed: true,
	}
}

// check says what the two parameters could not have agreed on.
func (st *Standing) check(p *Params) error {
	n := st.Negotiated
	switch {
	case n == nil:
		return fmt.Errorf("nothing was agreed on")
	case len(n.Families) == 0 || slices.ContainsFunc(n.Families, func(f route.Family) bool { return !slices.Contains(p.Families, f) }):
		return fmt.Errorf("families %s were agreed on, of %s", familyList(n.Families), familyList(p.Families))
	case n.Hold != 0 && (n.Hold < 3*time.Second || n.Hold > p.Hold):
		return fmt.Errorf("hold time %v was agreed on, of at most %v", n.Hold, p.Hold)
	case n.Keepalive < 0 || n.Hold > 0 && (n.Keepalive == 0 || n.Keepalive > n.Hold):
		return fmt.Errorf("keepalives every %v do not fit a hold time of %v", n.Keepalive, n.Hold)
	case n.SendHold <= 0:
		return fmt.Errorf("send hold time %v", n.SendHold)
	case !n.RouterID.Is4():
		return fmt.Errorf("router id %v of the neighbor", n.RouterID)
	case (n.Hold == 0) != st.Hold.IsZero() || (n.Hold == 0) != st.Keepalive.IsZero():
		return fmt.Errorf("timers do not fit a hold time of %v", n.Hold)
	case st.Errors < 0:
		return fmt.Errorf("%d errors", st.Errors)
	}
	return nil
}
