package session

import (
	"errors"
	"io"
	"syscall"
	"time"

	"bothways/internal/bgp/fsm"
)

// Sign is what came last of a neighbor whose session is down, and what the end is measured from.
type Sign uint8

// Signs.
const (
	NoSign           Sign = iota // this side ended the session, or nothing ever came
	LastMessage                  // what it sent last, and then nothing more, or nothing that was of use
	NotificationCame             // it said that it ends the session
	ConnectionClosed             // it closed the connection, or its machine refused it
)

// ending is what the owner knows of the end of a connection.
type ending struct {
	own   bool      // this side wanted it
	heard time.Time // when bytes came last; zero: never
	ended time.Time // when the reader or the writer found the end of the connection; zero: neither did
	err   error     // that they found
}

// signOf says by what the end of a session is known, and when that came. The zero time: it is not known.
func signOf(d fsm.Down, e ending) (Sign, time.Time) {
	switch {
	case e.own:
		return NoSign, time.Time{}
	case d.Received != nil:
		return NotificationCame, e.heard
	case !e.ended.IsZero() && (errors.Is(e.err, io.EOF) || errors.Is(e.err, syscall.ECONNRESET) || errors.Is(e.err, syscall.EPIPE)):
		return ConnectionClosed, e.ended
	case e.heard.IsZero():
		return NoSign, time.Time{}
	}
	return LastMessage, e.heard
}
