package session

import (
	"net/netip"
	"sync/atomic"
	"time"

	"bothways/internal/bgp/fsm"
)

// Status is what a session shows of itself.
type Status struct {
	Name        string
	Phase       fsm.Phase
	Since       time.Time // when the phase began
	LastError   string    // why the last session or attempt ended; kept while the next one stands
	LastErrorAt time.Time
	Established int // how often the session came up
	// Negotiated, Local and Remote are of the session that stands.
	Negotiated    *fsm.Negotiated
	Local, Remote netip.AddrPort
	Announced     int // prefixes that the neighbor was told
	In, Out       Counts
}

// Counts counts messages since the session was made.
type Counts struct {
	Messages, Updates uint64
}

// counters are written by the owner and read by anybody.
type counters struct {
	messagesIn, updatesIn, messagesOut, updatesOut atomic.Uint64
}

// Status returns the state as it was last published, with counters as they are.
func (s *Session) Status() Status {
	st := *s.status.Load()
	st.In = Counts{s.counters.messagesIn.Load(), s.counters.updatesIn.Load()}
	st.Out = Counts{s.counters.messagesOut.Load(), s.counters.updatesOut.Load()}
	return st
}
