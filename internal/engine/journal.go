package engine

import (
	"time"
)

// JournalEntry is an event that operators see.
type JournalEntry struct {
	At      time.Time
	Kind    string // session, link, failover, flows, connections, vpn, pin, limit, restart, reload, update, repaired, refused
	Subject string
	Text    string
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
	e.journal.add(JournalEntry{at, kind, subject, text})
	e.changed = true
	e.deps.Log.Info(text, "kind", kind, "subject", subject)
}
