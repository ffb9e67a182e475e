package engine

import "time"

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
	e.at(dueKey{"staged", k}, min(stagePause, max(s.stagedSince.Add(stageTime).Sub(e.now), 0)))
}

// take takes what a session staged into its table.
func (e *Engine) take(l *link, k SessionKey) {
	e.unstaged(&l.session[at(k.Family)], k)
	e.tables[at(k.Family)].table.Take(l.number)
}

// unstaged ends the wait.
func (e *Engine) unstaged(s *sessionState, k SessionKey) {
	s.stagedSince = time.Time{}
	delete(e.due, dueKey{"staged", k})
}
