package engine

import (
	"time"

	"bothways/internal/track"
)

// JournalEntry is an event that operators see.
type JournalEntry struct {
	At      time.Time
	Kind    string // session, link, failover, flows, announcements, lost, connections, vpn, pin, limit, restart, reload, update, repaired, refused
	Subject string
	Text    string
	// Of a failover, and of what belongs to one.
	Cause    Cause    `json:",omitempty"`
	Evidence SignKind `json:",omitempty"` // what PhaseDetected counts from; "": nothing is known
	Phases   []Phase
	Lost     *track.Lost `json:",omitempty"` // probes and proofs
}

// Phase is how long after a failure was seen something was done; of PhaseDetected and PhaseReported how long before.
type Phase struct {
	Name  string
	After time.Duration
}

// Phases of a failover.
const (
	PhaseDetected      = "detected"      // the evidence
	PhaseReported      = "reported"      // word of the failure was read
	PhaseDecided       = "decided"       // the groups were handed to the writer
	PhaseKernel        = "kernel"        // the kernel had them
	PhaseRoutes        = "routes"        // the kernel had the routes and rules that follow
	PhaseConnections   = "connections"   // connections were cut, of the first family
	PhaseAnnouncements = "announcements" // the last changed announcement was written to its neighbor
	PhaseAnswered      = "answered"      // a probe or proof was answered by another way
)

// journal keeps the last entries, in their order.
type journal struct {
	entries []JournalEntry
	total   int
}

// journalSize bounds the journal.
const journalSize = 1000

func (j *journal) add(n JournalEntry) {
	j.total++
	if len(j.entries) == journalSize {
		copy(j.entries, j.entries[1:])
		j.entries[journalSize-1] = n
		return
	}
	j.entries = append(j.entries, n)
}

func (e *Engine) note(kind, subject, text string) { e.noteAt(e.now, kind, subject, text) }

func (e *Engine) noteAt(at time.Time, kind, subject, text string) {
	e.noteEntry(JournalEntry{At: at, Kind: kind, Subject: subject, Text: text})
}

func (e *Engine) noteEntry(n JournalEntry) {
	e.journal.add(n)
	e.changed = true
	e.deps.Log.Info(n.Text, "kind", n.Kind, "subject", n.Subject)
}
