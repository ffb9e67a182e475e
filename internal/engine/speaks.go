package engine

import (
	"fmt"
	"slices"
	"time"

	"bothways/internal/route"
)

// speaks is which sessions have something to say because of an outage.
type speaks struct {
	wait     []SessionKey
	last     time.Time // when the latest of those that have said it had written it
	prefixes int
	sessions int
}

// said takes it that a session has written to its socket what was to be said by it. What it wrote before the outage was
// seen is something else. over: nothing more is to come.
func (s speaks) said(seen time.Time, ev SessionAnnounced) (next speaks, over bool) {
	i := slices.Index(s.wait, ev.Key)
	if i < 0 || ev.At.Before(seen) {
		return s, false
	}
	s.wait = slices.Delete(slices.Clone(s.wait), i, i+1)
	if ev.At.After(s.last) {
		s.last = ev.At
	}
	s.prefixes += ev.Prefixes
	s.sessions++
	return s, len(s.wait) == 0
}

// without takes it that a session is down: what it had to say will not be said.
func (s speaks) without(k SessionKey) (next speaks, over bool) {
	i := slices.Index(s.wait, k)
	if i < 0 {
		return s, false
	}
	s.wait = slices.Delete(slices.Clone(s.wait), i, i+1)
	return s, len(s.wait) == 0 && s.sessions > 0
}

// announced tells of the last phase.
func (o *outage) announced() JournalEntry {
	d := o.speaks.last.Sub(o.seen)
	return JournalEntry{
		At: o.speaks.last, Kind: "announcements", Subject: o.what, Cause: o.cause, Phases: []Phase{{PhaseAnnouncements, d}},
		Text: fmt.Sprintf("%d prefixes announced anew or taken back by %d sessions, written to their neighbors after %s", o.speaks.prefixes, o.speaks.sessions, milliseconds(d)),
	}
}

func (e *Engine) noteAnnounced(o *outage) {
	n := o.announced()
	e.tally.took(o, n.Phases...)
	e.noteEntry(n)
}

// noteSpeaks puts changed announcements down to the outages of this turn.
func (e *Engine) noteSpeaks(all []SessionParams) {
	now := make(map[SessionKey][]route.Announcement, len(all))
	for _, p := range all {
		now[p.Key] = p.Announce
		_, s, _ := e.sessionOf(p.Key)
		before, known := e.announce[p.Key]
		if s == nil || !s.up || !known || sameAnnouncements(before, p.Announce) {
			continue
		}
		for i := range e.outages {
			if o := &e.outages[i]; o.first == 0 {
				o.speaks.wait = append(o.speaks.wait, p.Key)
			}
		}
	}
	e.announce = now
}

func sameAnnouncements(a, b []route.Announcement) bool {
	return slices.EqualFunc(a, b, func(x, y route.Announcement) bool {
		return x.Prefix == y.Prefix && x.Prepend == y.Prepend && slices.Equal(x.Communities, y.Communities) && slices.Equal(x.Large, y.Large)
	})
}

func (e *Engine) sessionAnnounced(ev SessionAnnounced) {
	for i := range e.outages {
		o := &e.outages[i]
		var over bool
		if o.speaks, over = o.speaks.said(o.seen, ev); over {
			e.noteAnnounced(o)
		}
	}
}

// sessionSilent takes it that a session says nothing more.
func (e *Engine) sessionSilent(k SessionKey) {
	for i := range e.outages {
		o := &e.outages[i]
		var over bool
		if o.speaks, over = o.speaks.without(k); over {
			e.noteAnnounced(o)
		}
	}
}
