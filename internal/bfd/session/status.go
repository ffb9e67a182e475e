package session

import (
	"time"

	"bothways/internal/bfd/fsm"
	"bothways/internal/bfd/packet"
)

// Status is what is known of a session.
type Status struct {
	Config
	State   packet.State
	Since   time.Time
	Verdict fsm.Verdict
	Reason  string // of the last change of the verdict
	Waiting string // why nothing can be sent; empty if it can

	Remote          packet.State // as the neighbor last said; Down if it is not heard
	Diag            packet.Diag  // why our session last went down; none while it is up
	RemoteDiag      packet.Diag
	Transmit        time.Duration // agreed on: between our packets, before jitter; 0 if the neighbor wants none
	DetectionTime   time.Duration // agreed on: 0 if the neighbor is not heard
	Discriminator   uint32
	RemoteKnown     bool // the neighbor is heard
	Flaps           int  // how often it went from up to down, other than by an operator
	Heard           time.Time
	Sent, Received  uint64
	SourcePort      uint16
	LastFailedAfter time.Duration // from the neighbor's last packet to when the last failure was found
}

// Stats are about all sessions.
type Stats struct {
	Discards [packet.Discards]uint64 // packets that do not count, by reason
	Latest   time.Duration           // how late a packet was sent at most
}
