package fsm

import (
	"time"

	"bothways/internal/bfd/packet"
)

// Output is what follows from one input.
type Output struct {
	Send   bool // Packet is to be sent now
	Packet packet.Control

	Changed bool // the verdict is another one
	Change  Change
}

// Verdict is what a session says about the path.
type Verdict uint8

// Verdicts.
const (
	Unknown        Verdict = iota // never up
	Up                            // the neighbor hears us and we hear it
	Failed                        // it was up
	Administrative                // an operator ended it, here or there: no statement
)

func (v Verdict) String() string {
	switch v {
	case Up:
		return "up"
	case Failed:
		return "down"
	case Administrative:
		return "admin-down"
	}
	return "unknown"
}

// Change is a new verdict.
type Change struct {
	Verdict   Verdict
	Reason    string
	Last      time.Time     // when the neighbor was last heard; zero for never
	Detection time.Duration // the detection time that was in force
	Due       time.Time     // when this could be known first: Last + Detection for silence, else when the packet came
}
