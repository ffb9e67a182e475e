package fsm

import (
	"errors"
	"fmt"
	"time"
)

// slowest is the shortest interval while a session is not Up (RFC 5880, section 6.8.3).
const slowest = time.Second

// Params are what we want of a session.
type Params struct {
	Interval      time.Duration // at which we would send when Up: Desired Min TX Interval
	MinReceive    time.Duration // at which we can receive: Required Min RX Interval
	Multiplier    uint8         // how many of our packets the neighbor may miss: Detect Mult
	Discriminator uint32        // ours: not 0, and of no other session
	Seed          uint64        // of the jitter
	AdminDown     bool          // an operator does not want the session
}

// Check says what a machine cannot work with.
func (p Params) Check() error {
	switch {
	case p.Discriminator == 0:
		return errors.New("discriminator is 0")
	case p.Multiplier == 0:
		return errors.New("multiplier is 0")
	}
	for _, i := range []struct {
		name string
		d    time.Duration
	}{{"interval", p.Interval}, {"minimum receive interval", p.MinReceive}} {
		if i.d < time.Millisecond || i.d > time.Minute {
			return fmt.Errorf("%s is %v, want 1ms to 1m", i.name, i.d)
		}
	}
	return nil
}
