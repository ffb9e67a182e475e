package session

import (
	"context"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// Sink takes the events of a session, in order, one at a time. It may block, which slows the neighbor down; it must
// return when ctx, the context of Run, is done. Between an Up and its Down lie only events of that session.
type Sink interface {
	Handle(ctx context.Context, e Event)
}

// SinkFunc is a function as a Sink.
type SinkFunc func(ctx context.Context, e Event)

// Handle implements Sink.
func (f SinkFunc) Handle(ctx context.Context, e Event) { f(ctx, e) }

// Event is something that a session tells.
type Event interface {
	// Session is the name of the session.
	Session() string
}

// Events.
type (
	// Up tells that the session stands. Stale routes of families that the neighbor has not preserved
	// (Negotiated.Graceful nil or its F bit not set) must go at once; the others at EndOfRIB.
	Up struct {
		Name       string
		At         time.Time
		Negotiated *fsm.Negotiated
		// Taken: another process brought it up, and heard what the neighbor has said until now.
		Taken bool
	}

	// Down tells that the session that stood is gone. Routes of the families in Stale may be used until StaleUntil,
	// those of all others must go.
	Down struct {
		Name           string
		At             time.Time
		Reason         string
		Sent, Received *message.Notification
		Stale          []route.Family
		StaleUntil     time.Time
		// Sign came last of the neighbor, at SignAt; zero: that is not known.
		Sign   Sign
		SignAt time.Time
	}

	// Updates is what one read from the neighbor brought, in its order. The receiver may keep the slices.
	Updates struct {
		Name    string
		Updates []route.Update
	}

	// EndOfRIB tells that the neighbor has sent all it has of the family (RFC 4724, section 2).
	EndOfRIB struct {
		Name   string
		Family route.Family
	}

	// RefreshStart tells that the neighbor sends all routes of the family again (RFC 7313, BoRR).
	RefreshStart struct {
		Name   string
		Family route.Family
	}

	// RefreshEnd tells that it has: what was not sent since RefreshStart is gone (RFC 7313, EoRR).
	RefreshEnd struct {
		Name   string
		Family route.Family
	}

	// Announced tells that prefixes, announced anew or taken back, were written to the socket by At.
	Announced struct {
		Name     string
		At       time.Time
		Prefixes int
	}

	// Diagnostic tells of errors in UPDATEs that did not end the session (RFC 7606): how many of one kind one read
	// brought, with the text of the first.
	Diagnostic struct {
		Name string
		message.Diagnostic
		Count int
	}
)

// Session implements Event.
func (e Up) Session() string { return e.Name }

// Session implements Event.
func (e Down) Session() string { return e.Name }

// Session implements Event.
func (e Updates) Session() string { return e.Name }

// Session implements Event.
func (e EndOfRIB) Session() string { return e.Name }

// Session implements Event.
func (e RefreshStart) Session() string { return e.Name }

// Session implements Event.
func (e RefreshEnd) Session() string { return e.Name }

// Session implements Event.
func (e Announced) Session() string { return e.Name }

// Session implements Event.
func (e Diagnostic) Session() string { return e.Name }
