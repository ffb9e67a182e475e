package proof

import (
	"fmt"
	"time"
)

// Verdict says what is known of a way back.
type Verdict uint8

// Verdicts.
const (
	Unknown Verdict = iota // nothing was asked yet, or there is nobody to ask
	Same                   // replies come back by the path that asked
	Other                  // replies come back by another path
	None                   // no replies come back
)

func (v Verdict) String() string {
	return [...]string{"unknown", "same path", "other path", "no reply"}[min(v, None)]
}

// Params are how often is asked.
type Params struct {
	Every time.Duration // while all is as it was
	// Retry is the pause after a proof without a reply, and after one that came by another path than those before.
	Retry time.Duration
	// Misses is how many proofs in a row without a reply make the verdict None, and how many by the same path end it.
	Misses int
}

// Answer is what one proof brought.
type Answer struct {
	Target Target
	// Link and Path are those that the reply came by; empty: no reply came, and Why says why not.
	Link, Path string
	RTT        time.Duration
	Why        string
}

// State is what is known of a subject. The zero value is a subject that was never asked for.
type State struct {
	Verdict Verdict
	Since   time.Time
	Last    Answer // the last one that counted for the verdict
	At      time.Time
	// Next is when to ask again; Waiting: a proof is under way.
	Next    time.Time
	Waiting bool
	turn    int
	run     int     // answers in a row that speak for what
	what    Verdict // another verdict than the one that holds
}

// Due reports whether it is time to ask.
func (s State) Due(now time.Time) bool { return !s.Waiting && !now.Before(s.Next) }

// Ask chooses the target of the next proof, in turn, so that none is asked too often and one that is silent is not taken for
// a way that is closed. ok is false where there is nobody to ask; the state waits then.
func (s State) Ask(now time.Time, targets []Target, p Params) (next State, t Target, ok bool) {
	if len(targets) == 0 {
		s.Next = now.Add(p.Every)
		return s, t, false
	}
	t = targets[s.turn%len(targets)]
	s.turn++
	s.Waiting = true
	return s, t, true
}

// Lost forgets a proof that was under way, and asks again.
func (s State) Lost(now time.Time) State {
	s.Waiting, s.Next = false, now
	return s
}

// Observe takes the answer to a proof of a link of path own. changed says that the verdict is another one now.
func (s State) Observe(now time.Time, own string, a Answer, p Params) (next State, changed bool) {
	s.Waiting, s.At = false, now
	said := Other
	switch a.Path {
	case "":
		said = None
	case own:
		said = Same
	}
	s.Next = now.Add(p.Every)
	if said == s.Verdict {
		s.run = 0
		again := s.Last.Path != a.Path
		s.Last = a
		return s, again
	}
	if said != s.what {
		s.what, s.run = said, 0
	}
	s.run++
	// A reply by another path is evidence at once. That one did not come is not: packets get lost, targets fall silent.
	need := p.Misses
	if said == Other || s.Verdict == Unknown && said == Same || s.Verdict == None && said == Same {
		need = 1
	}
	if s.run < need {
		s.Next = now.Add(min(p.Retry, p.Every))
		return s, false
	}
	s.Verdict, s.Since, s.Last, s.run = said, now, a, 0
	return s, true
}

// String says the verdict with its evidence.
func (s State) String() string {
	switch s.Verdict {
	case Same:
		return fmt.Sprintf("%s answers by %s", s.Last.Target, s.Last.Link)
	case Other:
		return fmt.Sprintf("%s answers by %s", s.Last.Target, s.Last.Link)
	case None:
		return fmt.Sprintf("%s: %s", s.Last.Target, s.Last.Why)
	}
	return "not known yet"
}
