package engine

import (
	"time"

	"bothways/internal/route"
)

// How long what a neighbor says waits for the rest of its table, before its End-of-RIB.
const (
	stagePause = 100 * time.Millisecond // after the last of it
	stageTime  = 2 * time.Second        // after the first of it
)

// staged has what a session staged taken into its table soon, also where no End-of-RIB comes. A neighbor that needs long for its
// table is used by what it has said so far.
func (e *Engine) staged(l *link, k SessionKey) {
	s := &l.session[at(k.Family)]
	if e.tables[at(k.Family)].table.Counts(l.number).Staged == 0 {
		return
	}
	if s.stagedSince.IsZero() {
		s.stagedSince = e.now
	}
	latest := max(s.stagedSince.Add(stageTime).Sub(e.now), 0)
	if !s.complete {
		latest = min(stagePause, latest)
	}
	e.at(dueKey{"staged", k}, latest)
}

// stages reports whether what a session says now waits for more.
func (e *Engine) stages(l *link, f route.Family) bool {
	return !l.session[at(f)].complete || e.tables[at(f)].table.Counts(l.number).Staged > 0
}

// take takes what a session staged into its table.
func (e *Engine) take(l *link, k SessionKey) {
	e.unstaged(&l.session[at(k.Family)], k)
	e.tables[at(k.Family)].table.Take(l.number)
	if l.session[at(k.Family)].complete {
		e.hearLearned(l)
	}
}

// takeWhole takes what sessions staged that have said everything, once no other is in the middle of its table: what they
// say together is decided once.
func (e *Engine) takeWhole(f route.Family) {
	t := e.tables[at(f)].table
	for _, l := range e.links {
		if s := &l.session[at(f)]; s.up && !s.complete && t.Counts(l.number).Staged > 0 {
			return
		}
	}
	for _, l := range e.links {
		if t.Counts(l.number).Staged > 0 {
			e.take(l, SessionKey{l.FullName(), f})
		}
	}
}

// unstaged ends the wait.
func (e *Engine) unstaged(s *sessionState, k SessionKey) {
	s.stagedSince = time.Time{}
	delete(e.due, dueKey{"staged", k})
}
