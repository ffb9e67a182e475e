package fsm

import (
	"time"

	"bothways/internal/bgp/message"
)

// ConnID names a connection. The effect gives each connection a number that was not used before, and not zero.
type ConnID uint64

// Event is something that happened to the neighbor's machine.
type Event interface{ event() }

// Events.
type (
	// Start lets the machine connect and be connected to.
	Start struct{}

	// Stop ends all connections with the NOTIFICATION, or without one where it is nil. With RetryAfter the machine
	// starts again after that time; without, it waits for Start.
	Stop struct {
		Notification *message.Notification
		RetryAfter   time.Duration
		Reason       string // for Down, where there is no NOTIFICATION
	}

	// Retry asks for an attempt to connect now, since the reason why the last ones failed may be gone.
	Retry struct{}

	// Dialed answers a Dial: the connection stands.
	Dialed struct{ Conn ConnID }

	// DialFailed answers a Dial: there is no connection.
	DialFailed struct{ Err error }

	// Accepted is a connection that the neighbor made.
	Accepted struct{ Conn ConnID }

	// Closed is the end of a connection that the machine did not close.
	Closed struct {
		Conn ConnID
		Err  error
	}

	// Received is a message other than UPDATE.
	Received struct {
		Conn ConnID
		Msg  message.Message
	}

	// Updated tells of one or more UPDATEs that could be read.
	Updated struct{ Conn ConnID }

	// Malformed is a message that cannot be taken.
	Malformed struct {
		Conn ConnID
		Err  *message.NotificationError
	}

	// SendBlocked tells that nothing could be written for Negotiated.SendHold (RFC 9687).
	SendBlocked struct{ Conn ConnID }

	// Alive tells that the neighbor has sent something that was not handed over yet, when the effect itself is behind.
	Alive struct {
		Conn ConnID
		At   time.Time
	}

	// Tick tells that it is time: State.Next has passed.
	Tick struct{}
)

func (Start) event()       {}
func (Stop) event()        {}
func (Retry) event()       {}
func (Dialed) event()      {}
func (DialFailed) event()  {}
func (Accepted) event()    {}
func (Closed) event()      {}
func (Received) event()    {}
func (Updated) event()     {}
func (Malformed) event()   {}
func (SendBlocked) event() {}
func (Alive) event()       {}
func (Tick) event()        {}
