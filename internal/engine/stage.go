package engine

import (
	"sync"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// How long what a neighbor says waits for the rest of its table, before its End-of-RIB.
const (
	stagePause = 300 * time.Millisecond // after the last of it: a busy router stops for less in the middle of its table
	stageTime  = 2 * time.Second        // after the first of it
)

// staged has what a session staged taken into its table soon, also where no End-of-RIB comes. A neighbor that needs long for its
// table is used by what it has said so far.
func (e *Engine) staged(l *link, k SessionKey) {
	s := &l.session[at(k.Family)]
	if !e.tables[at(k.Family)].table.Waits(l.number) {
		return
	}
	if s.stagedSince.IsZero() {
		s.stagedSince = e.now
	}
	latest := max(s.stagedSince.Add(stageTime).Sub(e.now), 0)
	if !s.complete || e.silent(l, k.Family) {
		latest = min(stagePause, latest)
	}
	e.at(dueKey{"staged", k}, latest)
}

// stages reports whether what a session says now waits for more. What a neighbor says first may be a whole table, also where it took
// so long to begin that nothing more was waited for.
func (e *Engine) stages(l *link, f route.Family) bool {
	return !l.session[at(f)].complete || e.silent(l, f) || e.tables[at(f)].table.Waits(l.number)
}

// silent reports whether nothing that a neighbor said was taken yet, or is left, and no End-of-RIB tells that this is all.
func (e *Engine) silent(l *link, f route.Family) bool {
	return !l.session[at(f)].ends && e.tables[at(f)].table.Counts(l.number).Received == 0
}

// take takes what a session staged into its table.
func (e *Engine) take(l *link, k SessionKey) {
	e.unstaged(&l.session[at(k.Family)], k)
	t := e.tables[at(k.Family)]
	t.due.Remove(l.number)
	t.table.Take(l.number)
	e.hearTaken(l, k.Family)
}

func (e *Engine) hearTaken(l *link, f route.Family) {
	if l.session[at(f)].complete {
		e.hearLearned(l)
	}
}

// takeWhole has what sessions staged that have said everything taken at the end of the turn, once no other is in the middle of
// its table: what they say together is decided once.
func (e *Engine) takeWhole(f route.Family) {
	t := e.tables[at(f)]
	for _, l := range e.links {
		if s := &l.session[at(f)]; s.up && !s.said && (!s.complete || e.silent(l, f)) && t.table.Waits(l.number) {
			return
		}
	}
	e.takeStaged(t)
}

// takeStaged has all that sessions staged taken at the end of the turn.
func (e *Engine) takeStaged(t *family) {
	for _, l := range e.links {
		if t.table.Waits(l.number) {
			e.unstaged(&l.session[at(t.f)], SessionKey{l.FullName(), t.f})
			t.due.Add(l.number)
		}
	}
}

// What is decided of whole tables is handed on in lots, so that it is written while the rest is decided. With compression the first
// few are all or nearly all that there is, and half of the time until the kernel forwards by them; behind them come larger ones,
// which cost less.
const (
	lotSize   = 1 << 9
	firstLots = 32
	laterLots = 8 // times as large
)

// takeDue takes what takeWhole said, and decides.
func (e *Engine) takeDue(t *family, emit func(kstate.RouteChange)) {
	e.sortStaged(t)
	lots, size := 0, e.lot
	t.table.TakeAll(t.due.Links(), func(c rib.Change) {
		t.fib.Change(c, emit)
		if len(t.changes) >= size {
			if lots++; lots == firstLots {
				size *= laterLots
			}
			e.submitLot(t, size)
		}
	})
	for _, l := range e.links {
		if t.due.Has(l.number) {
			e.hearTaken(l, t.f)
		}
	}
	t.due = route.LinkSet{}
}

// sortStaged sorts what is due, side by side.
func (e *Engine) sortStaged(t *family) {
	var sorts sync.WaitGroup
	for _, l := range t.due.Links() {
		sorts.Go(func() { t.table.SortStaged(l) })
	}
	sorted := make(chan struct{})
	go func() {
		sorts.Wait()
		close(sorted)
	}()
	e.hearUrgentUntil(sorted)
}

// submitLot hands on what is decided so far of one family, in the mode of before: what the next mode deletes may be decided
// yet. Nothing is deleted for it either: what covers a route that goes may still be among what comes, as the default always is, and
// routes that are not handed on yet may point at a group that no longer is among the objects. The lot behind it is of next changes.
func (e *Engine) submitLot(t *family, next int) {
	if e.withdrawn || e.replace || !e.sent.any {
		return
	}
	b := e.batch(e.sent.mode)
	b.Routes, t.changes, b.More = t.changes, e.room(next), true
	e.sequence++
	b.Sequence = e.sequence
	e.sent.objects, e.sent.more = b.Objects, true
	e.deps.Kernel.Submit(b)
	e.changed = true
}

// room is an empty list for a lot of n changes, and what the last prefix of it brings.
func (e *Engine) room(n int) []kstate.RouteChange {
	if l := e.deps.Kernel.Room(); cap(l) >= n {
		return l
	}
	return make([]kstate.RouteChange, 0, n+kstate.MaxLinks)
}

// unstaged ends the wait.
func (e *Engine) unstaged(s *sessionState, k SessionKey) {
	s.stagedSince = time.Time{}
	delete(e.due, dueKey{"staged", k})
}
