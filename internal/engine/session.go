package engine

import (
	"fmt"

	"bothways/internal/policy"
	"bothways/internal/route"
)

func (e *Engine) sessionOf(k SessionKey) (*link, *sessionState, *family) {
	l := e.linkNamed(k.Link)
	if l == nil {
		return nil, nil, nil
	}
	return l, &l.session[at(k.Family)], e.tables[at(k.Family)]
}

func (e *Engine) sessionUp(ev SessionUp) {
	l, s, t := e.sessionOf(ev.Key)
	if l == nil {
		return
	}
	if t.down.Has(l.number) {
		// It came back within one turn: what the new session says must not be taken out with the old.
		t.purge(l.number)
	}
	s.up, s.complete, s.ends, s.taken, s.repeating, s.absent = true, false, ev.Ends, ev.Taken, false, false
	if ev.Taken {
		e.note("session", ev.Key.String(), "taken over; the neighbor is asked to say everything again")
		e.deps.Speaker.Refresh(ev.Key)
	} else {
		e.note("session", ev.Key.String(), "established")
	}
	e.hearOn(ev.Key, s)
	if !s.stale {
		return
	}
	if !ev.Preserved {
		// The neighbor lost its forwarding state: what it said before no longer holds (RFC 4724, section 4.2).
		// It is not asked whether that is sudden: packets would end there.
		e.sweepStale(l, t.f, "neighbor did not keep forwarding")
		return
	}
	e.at(dueKey{"stale", ev.Key}, refreshTime)
}

// hearOn starts the wait for a neighbor's silence anew, which says what an End-of-RIB would: soon, where it sends none.
func (e *Engine) hearOn(k SessionKey, s *sessionState) {
	if s.complete || s.ends && s.stale { // what is stale has an end of its own
		return
	}
	quiet := quietTime
	if s.ends {
		quiet = adoptTime
	} else if l := e.linkNamed(k.Link); s.taken {
		if n := e.tables[at(k.Family)].table.Counts(l.number); n.Received+n.Staged < s.expected {
			quiet = repeatTime
		}
	}
	e.at(dueKey{"quiet", k}, quiet)
}

func (e *Engine) sessionDown(ev SessionDown) {
	l, s, t := e.sessionOf(ev.Key)
	if l == nil {
		return
	}
	s.up, s.complete, s.refreshing, s.draining, s.sparing, s.level = false, false, false, "", false, policy.LimitFine
	s.taken, s.repeating = false, false
	e.sessionSilent(ev.Key)
	s.held, s.lost = nil, nil
	delete(e.due, dueKey{"held", ev.Key})
	delete(e.due, dueKey{"refresh", ev.Key})
	delete(e.due, dueKey{"quiet", ev.Key})
	e.unstaged(s, ev.Key)
	if ev.Stale {
		if s.stale {
			// What is stale already has had its time (RFC 4724, section 4.2).
			t.table.Sweep(l.number)
		}
		s.stale = true
		t.table.MarkStale(l.number)
		e.due[dueKey{"stale", ev.Key}] = ev.StaleUntil
		e.note("session", ev.Key.String(), fmt.Sprintf("down: %s; its routes are kept until %s", ev.Reason, ev.StaleUntil.Format("15:04:05")))
		return
	}
	s.stale = false
	delete(e.due, dueKey{"stale", ev.Key})
	if !l.speaks(t.f) {
		return // the link has no session any more by its configuration, and may have a default of its own
	}
	e.note("session", ev.Key.String(), "down: "+ev.Reason)
	// Of a link that is dead already nothing is left.
	if gone := ([2]bool{}); l.usable()[at(t.f)] {
		gone[at(t.f)] = true
		e.startOutage(l, gone, CauseSession, ev.Key.String()+" session down", ev.Evidence)
	}
	// First the groups, by naming the link dead to the rankings; its routes are taken out behind that.
	t.down.Add(l.number)
}

func (e *Engine) sessionUpdates(ev SessionUpdates) {
	l, s, t := e.sessionOf(ev.Key)
	if l == nil || !s.up {
		return
	}
	// What is withheld is judged beside what the table has.
	if t.due.Has(l.number) || s.complete && l.LastGood.For > 0 && t.table.Waits(l.number) {
		e.take(l, ev.Key)
	}
	imp, beyond := l.imports[at(t.f)], 0
	updates := e.withhold(l, ev.Key, ev.Updates)
	say := t.table.Apply
	if e.stages(l, t.f) {
		say = t.table.Stage
	}
	s.said = false
	for _, u := range updates {
		e.taken += len(u.Announced) + len(u.Withdrawn)
		if u.Family == t.f {
			keep := l.Limit.Keep()
			if keep > 0 {
				keep += e.unsaid(l, t.f)
			}
			beyond += say(l.number, imp, u, keep)
		}
	}
	e.staged(l, ev.Key)
	e.changed = true
	e.holdLastGood(l, ev.Key)
	e.hearDraining(l, ev.Key, ev.Updates)
	e.hearOn(ev.Key, s)
	if s.complete {
		e.hearLearned(l)
	}
	count := e.said(l, t.f)
	if t.table.Counts(l.number).Staged > 0 && l.Limit.Level(count, beyond) > s.level {
		// What was said twice counts twice there: the number that matters is known only after this.
		e.take(l, ev.Key)
		count = e.said(l, t.f)
	}
	level := l.Limit.Level(count, beyond)
	if level <= s.level {
		return
	}
	s.level = level
	switch level {
	case policy.LimitNear:
		e.note("limit", ev.Key.String(), fmt.Sprintf("%d prefixes of at most %d", count, l.Limit.Max))
	case policy.LimitExceeded:
		e.note("limit", ev.Key.String(), fmt.Sprintf("more than %d prefixes: %s", l.Limit.Max, l.Limit.Then))
		if l.Limit.Then == policy.LimitRestart {
			e.deps.Speaker.Refuse(ev.Key, refuseTime)
		}
	}
}

// unsaid are routes that a link's neighbor has taken back, or not said again yet: they are not counted against it.
func (e *Engine) unsaid(l *link, f route.Family) int {
	n := e.tables[at(f)].table.Counts(l.number).Stale
	if h := l.session[at(f)].held; h != nil {
		n += len(h.prefixes)
	}
	return n
}

// said are the routes that count.
func (e *Engine) said(l *link, f route.Family) int {
	n := e.tables[at(f)].table.Counts(l.number)
	return n.Received + n.Staged - e.unsaid(l, f)
}

// heardEnd takes an End-of-RIB. Of a session that was taken over it ends what another daemon has heard the beginning of.
func (e *Engine) heardEnd(k SessionKey) {
	if l, s, _ := e.sessionOf(k); l == nil || s.taken && !s.complete {
		return
	}
	e.endOfRIB(k)
}

func (e *Engine) endOfRIB(k SessionKey) {
	l, s, _ := e.sessionOf(k)
	if l == nil || !s.up {
		return
	}
	s.complete, s.said, e.changed = true, true, true
	delete(e.due, dueKey{"quiet", k})
	e.staged(l, k)
	e.takeWhole(k.Family)
	e.surveySoon()
	e.hearLearned(l)
	if s.stale {
		e.saidAgain(l, k.Family, "not announced again")
	}
}

func (e *Engine) refresh(ev SessionRefresh) {
	l, s, t := e.sessionOf(ev.Key)
	if l == nil || !s.up {
		return
	}
	if s.taken && !s.complete {
		e.repeated(ev, s)
		return
	}
	if ev.Start {
		if !s.complete {
			return // RFC 7313, section 4: before the End-of-RIB it means nothing
		}
		s.refreshing = true
		t.table.MarkStale(l.number)
		if s.held != nil {
			e.putHeld(l, ev.Key) // which the neighbor will not say, and has its own end
		}
		e.at(dueKey{"refresh", ev.Key}, refreshTime)
		return
	}
	if s.refreshing {
		e.saidAgain(l, ev.Key.Family, "not announced again")
	}
}

// saidAgain ends what a neighbor says again, after a restart or in a refresh. What is held of what it did not say before stays until
// its own end.
func (e *Engine) saidAgain(l *link, f route.Family, why string) {
	if l.session[at(f)].sparing {
		delete(e.due, dueKey{"refresh", SessionKey{l.FullName(), f}})
		e.take(l, SessionKey{l.FullName(), f})
		return
	}
	e.dropStale(l, f, why)
}

// dropStale ends a stale period, of a restart or of a refresh. A neighbor that said far less than before is given time.
func (e *Engine) dropStale(l *link, f route.Family, why string) {
	s, t, key := &l.session[at(f)], e.tables[at(f)], SessionKey{l.FullName(), f}
	e.take(l, key)
	if n := t.table.Counts(l.number); s.up && !s.sparing && l.LastGood.Sudden(n.Received, n.Stale) {
		s.sparing = true
		delete(e.due, dueKey{"stale", key})
		delete(e.due, dueKey{"refresh", key})
		if !l.LastGood.Keep {
			e.at(dueKey{"stale", key}, l.LastGood.For)
		}
		e.noteHeld(l, key, n.Stale, n.Received)
		return
	}
	e.sweepStale(l, f, why)
}

// sweepStale takes out what is stale.
func (e *Engine) sweepStale(l *link, f route.Family, why string) {
	s, t, key := &l.session[at(f)], e.tables[at(f)], SessionKey{l.FullName(), f}
	s.sparing = false
	s.stale, s.refreshing = false, false
	delete(e.due, dueKey{"stale", key})
	delete(e.due, dueKey{"refresh", key})
	if n := t.table.Sweep(l.number); n > 0 {
		e.note("session", key.String(), fmt.Sprintf("%d stale routes removed: %s", n, why))
	}
	e.hearTaken(l, f)
	e.changed = true
}

// waiting counts the sessions that a restart still waits for: those of usable links that have not said everything.
func (e *Engine) waiting() int {
	n := 0
	for _, l := range e.links {
		for _, f := range route.Families() {
			if s := &l.session[at(f)]; l.speaks(f) && l.tracks.Usable(f) && !s.complete && !s.absent {
				n++
			}
		}
	}
	return n
}

// refreshBlocked asks neighbors for everything again that sent more than they might before: by the new configuration there
// may be room.
func (e *Engine) refreshBlocked() {
	for _, l := range e.links {
		for _, f := range route.Families() {
			s := &l.session[at(f)]
			if s.up && s.level == policy.LimitExceeded && e.tables[at(f)].table.Counts(l.number).Received < l.Limit.Max {
				s.level = policy.LimitFine
				e.deps.Speaker.Refresh(SessionKey{l.FullName(), f})
			}
		}
	}
}
