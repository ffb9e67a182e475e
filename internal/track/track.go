package track

import (
	"fmt"
	"time"
)

// Kind of evidence.
type Kind string

// Kinds. Carrier, neighbor, BFD and probes decide; BGP is shown, and acts through the routes that a session brings or
// takes away: an established session is no evidence that packets pass.
const (
	Carrier  Kind = "carrier"
	Neighbor Kind = "neighbor"
	BFD      Kind = "bfd"
	Probe    Kind = "probes"
	BGP      Kind = "bgp"
)

// Params are the thresholds of a track.
type Params struct {
	DownAfter int           // bad observations in a row before down, at least 1
	UpAfter   int           // good observations in a row before up, at least 1
	UpDelay   time.Duration // how long it must have been good before up
}

// Immediate acts on each observation.
func Immediate() Params { return Params{DownAfter: 1, UpAfter: 1} }

// State is a track. The zero value has seen nothing and counts as up: without evidence nothing is taken down.
type State struct {
	Down      bool
	Seen      bool
	Since     time.Time // of the present Down or up
	Why       string    // the observation that led to it
	bad, good int
	goodSince time.Time
}

// Up reports whether the track lets its link be used.
func (s State) Up() bool { return !s.Down }

// Observe takes an observation made at now and returns the new state; changed says that it went up or down.
func (s State) Observe(now time.Time, good bool, why string, p Params) (next State, changed bool) {
	if !s.Seen {
		s.Seen, s.Since, s.Why = true, now, why
	}
	if !good {
		s.good = 0
		s.bad++
		if s.Down || s.bad < p.DownAfter {
			return s, false
		}
		s.Down, s.Since, s.Why = true, now, why
		return s, true
	}
	s.bad = 0
	if s.good == 0 {
		s.goodSince = now
	}
	s.good++
	if !s.Down || s.good < p.UpAfter || now.Sub(s.goodSince) < p.UpDelay {
		return s, false
	}
	s.Down, s.Since, s.Why = false, now, why
	return s, true
}

// String is one word, and since when.
func (s State) String() string {
	word := "up"
	switch {
	case !s.Seen:
		return "unknown"
	case s.Down:
		word = "down"
	}
	return fmt.Sprintf("%s (%s)", word, s.Why)
}
