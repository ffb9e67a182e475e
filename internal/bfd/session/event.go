package session

import "time"

// Event is what a session says about its link.
type Event interface{ at() time.Time }

// Events.
type (
	// Up tells that the neighbor hears us and we hear it.
	Up struct {
		Name      string
		At        time.Time
		Detection time.Duration // as it is until the timers are agreed on; see Status
	}

	// Down tells that it is so no more.
	Down struct {
		Name   string
		Reason string
		// Admin says that an operator ended the session, here or there, which is no statement about the path
		// (RFC 5882, section 3.2). It can follow a Down that was not.
		Admin bool

		At        time.Time     // when it was found
		Heard     time.Time     // when the neighbor's last packet arrived
		Detection time.Duration // the detection time in force
		Due       time.Time     // when it could be found first: Heard + Detection for silence, else when the neighbor told
	}
)

func (e Up) at() time.Time   { return e.At }
func (e Down) at() time.Time { return e.At }
