package plan

import "time"

// Mode says how far the kernel may be changed.
type Mode uint8

// Modes. A daemon that finds the state of an earlier one begins with Hold: what is there forwards on while the
// neighbors say everything again.
const (
	Full  Mode = iota
	Adopt      // put what is wanted, delete nothing
	Hold       // write no routes and no groups
)

func (m Mode) String() string { return [...]string{"full", "adopt", "hold"}[m] }

// Restart decides how long the state of an earlier daemon is kept as it was found.
type Restart struct {
	Found    bool      // there was such a state
	Deadline time.Time // after which it is kept no longer
	Failed   bool      // a link died meanwhile: what is wanted must be put in now
	done     bool
}

// Next returns the mode at a time when waiting neighbors have not yet said everything (their last End-of-RIB). Once it
// has been Full it stays so.
func (r Restart) Next(now time.Time, waiting int) (Restart, Mode) {
	if r.done || !r.Found || waiting == 0 || !now.Before(r.Deadline) {
		r.done = true
		return r, Full
	}
	if r.Failed {
		return r, Adopt
	}
	return r, Hold
}
