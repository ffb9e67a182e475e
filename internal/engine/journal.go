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
	Phases  []Phase     // of a failover
	Lost    *track.Lost `json:",omitempty"` // probes and proofs
}

// Phase is how long after a failure was seen something was done; detected: how long before it there was a sign of life.
type Phase struct {
	Name  string // detected, decided, kernel, routes, connections, announcements, answered
	After time.Duration
}

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
