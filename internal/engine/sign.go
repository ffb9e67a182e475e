package engine

import (
	"time"

	"bothways/internal/track"
)

// Cause is why a link is left: a track that went down, the end of its session, or an operator's word.
type Cause string

// Causes. Those of tracks are the tracks' kinds.
const (
	CauseCarrier  = Cause(track.Carrier)
	CauseNeighbor = Cause(track.Neighbor)
	CauseBFD      = Cause(track.BFD)
	CauseProbes   = Cause(track.Probe)
	CauseSession  = Cause("session")
	CauseDrain    = Cause("drain")
)

// SignKind is what a failure is timed from.
type SignKind string

// Kinds of signs: the last of life, or, where the neighbor or an operator says that it ends, that word.
const (
	SignPacket       SignKind = "last bfd packet"
	SignAnswer       SignKind = "last probe answer"        // of the targets that are bad now, the latest, when it arrived
	SignCarrier      SignKind = "last look with a carrier" // linkwatch looks every 10 ms; the carrier was lost after that
	SignNeighbor     SignKind = "last neighbor answer"     // as the kernel's neighbor entry has it, in steps of 10 ms
	SignMessage      SignKind = "last bgp message"
	SignNotification SignKind = "bgp notification"
	SignClose        SignKind = "end of the bgp connection"
	SignCommand      SignKind = "command"
)

// Sign is the evidence that a failure is timed from.
type Sign struct {
	Kind SignKind
	At   time.Time // zero: nothing is known, and Kind means nothing
	// Told is when the report of the failure was read; zero where nobody reports it.
	Told time.Time
}

// phases are how long before seen the sign was, and the report read. A sign may be by another process's clock.
func (s Sign) phases(seen time.Time) (out []Phase) {
	for _, x := range []struct {
		name string
		at   time.Time
	}{{PhaseDetected, s.At}, {PhaseReported, s.Told}} {
		if !x.at.IsZero() {
			out = append(out, Phase{x.name, max(0, seen.Sub(x.at))})
		}
	}
	return out
}

// later is the later of two times, of which either may be unknown.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// neighborSign is the evidence of a neighbor that does not answer any more. heard is when it was last seen to answer;
// confirmed is what the kernel's entry says now, which is older where the entry was made anew.
func neighborSign(heard, confirmed, told time.Time) Sign {
	return Sign{SignNeighbor, later(heard, confirmed), told}
}

// probesSign is the evidence of probes that went down: the last good answer of a target that is bad now. Targets that answer
// still are no evidence of a failure.
func probesSign(p track.Probes) Sign {
	s := Sign{Kind: SignAnswer}
	for _, t := range p.Targets() {
		if !t.Up() {
			s.At = later(s.At, t.Good)
		}
	}
	return s
}
