package fsm

import (
	"time"

	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// Action is something that the effect must do, in the order of the list.
type Action interface{ action() }

// Actions.
type (
	// Dial asks for a connection to the neighbor, to be answered by Dialed or DialFailed.
	Dial struct{}

	// CancelDial withdraws the last Dial. An answer that comes all the same is taken care of.
	CancelDial struct{}

	// CloseConn ends a connection, after the NOTIFICATION where there is one. No event of it is expected any more.
	CloseConn struct {
		Conn         ConnID
		Notification *message.Notification
	}

	// Send writes a message.
	Send struct {
		Conn ConnID
		Msg  message.Message
	}

	// Agreed tells how to read what follows the neighbor's OPEN.
	Agreed struct {
		Conn       ConnID
		Negotiated *Negotiated
	}

	// Up tells that the session stands.
	Up struct {
		Conn       ConnID
		Negotiated *Negotiated
	}

	// Down tells that the session that stood is gone.
	Down struct {
		Conn           ConnID
		Reason         string
		Sent, Received *message.Notification
		// Stale lists the families whose routes may be kept for RestartTime, until the neighbor is back
		// (RFC 4724, RFC 8538). The others' must go at once.
		Stale       []route.Family
		RestartTime time.Duration
	}

	// Failed tells why an attempt at a session came to nothing.
	Failed struct{ Reason string }
)

func (Dial) action()       {}
func (CancelDial) action() {}
func (CloseConn) action()  {}
func (Send) action()       {}
func (Agreed) action()     {}
func (Up) action()         {}
func (Down) action()       {}
func (Failed) action()     {}
