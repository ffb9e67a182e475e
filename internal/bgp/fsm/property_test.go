package fsm

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bothways/internal/bgp/message"
)

// TestWhateverHappens gives the machine events in any order, also ones that no effect would give, and looks at what an
// effect relies on.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := params()
		p.Passive, p.Graceful.Enabled = rapid.Bool().Draw(t, "passive"), rapid.Bool().Draw(t, "graceful")
		p.RouterID = netip.MustParseAddr(rapid.SampledFrom([]string{"1.1.1.1", "203.0.113.1"}).Draw(t, "router id"))
		s, now := New(p), start
		open := map[ConnID]bool{} // connections that the machine has and has not closed
		var last, up ConnID
		dialing := false

		anyConn := func() ConnID { return ConnID(rapid.Uint64Range(1, uint64(last)+1).Draw(t, "conn")) }
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20000).Draw(t, "ms")) * time.Millisecond)
			var e Event
			switch rapid.IntRange(0, 12).Draw(t, "event") {
			case 0:
				e = Start{}
			case 1:
				e = Stop{Notification: message.Cease(message.AdministrativeReset, ""), RetryAfter: time.Duration(rapid.IntRange(0, 5).Draw(t, "retry")) * time.Second}
			case 2:
				if !dialing {
					continue
				}
				last, dialing = last+1, false
				open[last], e = true, Dialed{last}
			case 3:
				if !dialing {
					continue
				}
				dialing, e = false, DialFailed{errors.New("refused")}
			case 4, 5:
				last++
				open[last], e = true, Accepted{last}
			case 6:
				e = Received{anyConn(), message.Keepalive{}}
			case 7, 8:
				e = Received{anyConn(), peerOpen(graceful(rapid.Bool().Draw(t, "R"), rapid.Bool().Draw(t, "N")))}
			case 9:
				e = Received{anyConn(), message.Cease(message.Subcode(rapid.IntRange(1, 9).Draw(t, "subcode")), "")}
			case 10:
				e = Closed{anyConn(), nil}
			case 11:
				e = Updated{anyConn()}
			default:
				if next := s.Next(); !next.IsZero() && next.After(now) {
					now = next
				}
				e = Tick{}
			}
			wasOpen := len(open)
			gone := ConnID(0)
			if c, ok := e.(Closed); ok && open[c.Conn] {
				gone = c.Conn
			}
			var actions []Action
			s, actions = s.Handle(now, e)
			for _, a := range actions {
				switch a := a.(type) {
				case Dial:
					if dialing {
						t.Fatal("two dials at once")
					}
					dialing = true
				case CancelDial:
					if !dialing {
						t.Fatal("cancels no dial")
					}
					dialing = false
				case CloseConn:
					if !open[a.Conn] {
						t.Fatalf("%T closes %d, which is not open", e, a.Conn)
					}
					delete(open, a.Conn)
				case Send:
					if !open[a.Conn] {
						t.Fatalf("sends on %d, which is not open", a.Conn)
					}
				case Up:
					if up != 0 {
						t.Fatal("up twice")
					}
					up = a.Conn
				case Down:
					if up != a.Conn {
						t.Fatalf("down of %d, up is %d", a.Conn, up)
					}
					up = 0
				}
			}
			delete(open, gone)
			if (s.Phase() == Established) != (up != 0) {
				t.Fatalf("phase %v, session %d", s.Phase(), up)
			}
			if len(open) > places {
				t.Fatalf("%d connections (%d before)", len(open), wasOpen)
			}
			if _, ok := e.(Tick); ok {
				if next := s.Next(); !next.IsZero() && !next.After(now) {
					t.Fatalf("a Tick leaves the next one due: %v", next.Sub(now))
				}
			}
		}
	})
}
