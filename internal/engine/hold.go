package engine

import (
	"fmt"
	"net/netip"
	"time"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// held is what is kept of a set of routes that shrank suddenly.
type held struct {
	prefixes map[netip.Prefix]*route.Attrs // taken back, and kept
}

// lost is a route that was taken back a moment ago.
type lost struct {
	at    time.Time
	attrs *route.Attrs
}

// lostAt is a prefix that was taken back, in the order of that.
type lostAt struct {
	at     time.Time
	prefix netip.Prefix
}

// forgetLost forgets what was taken back too long ago to belong to what goes now.
func (s *sessionState) forgetLost(now time.Time) {
	n := 0
	for ; n < len(s.order) && now.Sub(s.order[n].at) > policy.HoldWindow; n++ {
		// One that came back, and maybe went again, is not this one any more.
		if x, ok := s.lost[s.order[n].prefix]; ok && x.at.Equal(s.order[n].at) {
			delete(s.lost, s.order[n].prefix)
		}
	}
	s.order = s.order[n:]
}

// withhold takes from updates what is not to be applied: while a set is held, nothing of it is taken out. Before, it
// remembers what goes, so that it can come back.
func (e *Engine) withhold(l *link, k SessionKey, updates []route.Update) []route.Update {
	s, t := &l.session[at(k.Family)], e.tables[at(k.Family)]
	if (l.LastGood.For == 0 || !s.complete) && s.held == nil {
		return updates
	}
	out := make([]route.Update, 0, len(updates))
	for _, u := range updates {
		if u.Family != k.Family {
			continue
		}
		var gone []netip.Prefix
		for _, p := range u.Withdrawn {
			attrs := attrsOf(t, l.number, p)
			switch {
			case attrs == nil:
				gone = append(gone, p)
			case s.held != nil:
				s.held.prefixes[p] = attrs
			default:
				gone = append(gone, p)
				if s.lost == nil {
					s.lost = map[netip.Prefix]lost{}
				}
				s.lost[p] = lost{e.now, attrs}
				s.order = append(s.order, lostAt{e.now, p})
			}
		}
		for _, p := range u.Announced {
			delete(s.lost, p)
			if s.held != nil {
				delete(s.held.prefixes, p)
			}
		}
		u.Withdrawn = gone
		out = append(out, u)
	}
	return out
}

// attrsOf are the attributes of a link's usable route.
func attrsOf(t *family, l route.Link, p netip.Prefix) *route.Attrs {
	for _, r := range t.table.Entries(p) {
		if r.Link == l && !r.Static && r.Reason == policy.Accepted {
			return r.Attrs
		}
	}
	return nil
}

// holdLastGood puts back what a link lost where that was sudden.
func (e *Engine) holdLastGood(l *link, k SessionKey) {
	s, t := &l.session[at(k.Family)], e.tables[at(k.Family)]
	s.forgetLost(e.now)
	if s.held != nil && len(s.held.prefixes) == 0 {
		s.held = nil
		delete(e.due, dueKey{"held", k})
		e.note("hold", k.String(), "all that was held is announced again")
	}
	if s.sparing && t.table.Counts(l.number).Stale == 0 {
		s.sparing, s.stale, s.refreshing = false, false, false
		delete(e.due, dueKey{"stale", k})
		e.note("hold", k.String(), "all that was held is announced again")
	}
	if s.held != nil || !l.LastGood.Sudden(t.table.Counts(l.number).Accepted+len(s.lost), len(s.lost)) {
		return
	}
	s.held = &held{prefixes: map[netip.Prefix]*route.Attrs{}}
	for p, x := range s.lost {
		s.held.prefixes[p] = x.attrs
	}
	s.lost, s.order = nil, nil
	e.putHeld(l, k)
	e.noteHeld(l, k, len(s.held.prefixes), t.table.Counts(l.number).Accepted)
	if !l.LastGood.Keep {
		e.at(dueKey{"held", k}, l.LastGood.For)
	}
}

// putHeld has the table hold what is held, as if the neighbor had just said it.
func (e *Engine) putHeld(l *link, k SessionKey) {
	t := e.tables[at(k.Family)]
	for p, attrs := range l.session[at(k.Family)].held.prefixes {
		t.table.Apply(l.number, l.imports[at(k.Family)], route.Update{Family: k.Family, Announced: []netip.Prefix{p}, Attrs: attrs}, 0)
	}
}

func (e *Engine) noteHeld(l *link, k SessionKey, n, of int) {
	until := "for " + l.LastGood.For.String()
	if l.LastGood.Keep {
		until = "until it announces them again, or its session ends"
	}
	e.note("hold", k.String(), fmt.Sprintf("the neighbor took back %d of %d prefixes at once: they are held %s", n, of, until))
}

// release takes the smaller set after all.
func (e *Engine) release(l *link, k SessionKey) {
	s, t := &l.session[at(k.Family)], e.tables[at(k.Family)]
	if s.held == nil {
		return
	}
	u := route.Update{Family: k.Family}
	for p := range s.held.prefixes {
		u.Withdrawn = append(u.Withdrawn, p)
	}
	t.table.Apply(l.number, l.imports[at(k.Family)], u, 0)
	e.note("hold", k.String(), fmt.Sprintf("%d prefixes are held no longer", len(u.Withdrawn)))
	s.held = nil
	e.hearLearned(l)
}

// setHolds has what is held follow a new configuration.
func (e *Engine) setHolds() {
	for _, l := range e.links {
		for _, f := range route.Families() {
			s, k := &l.session[at(f)], SessionKey{l.FullName(), f}
			var end dueKey
			switch {
			case s.held != nil:
				end = dueKey{"held", k}
			case s.sparing:
				end = dueKey{"stale", k}
			default:
				continue
			}
			_, ends := e.due[end]
			switch {
			case l.LastGood.For == 0 && s.held != nil:
				delete(e.due, end)
				e.release(l, k)
			case l.LastGood.For == 0:
				e.sweepStale(l, f, "held no longer")
			case l.LastGood.Keep:
				delete(e.due, end)
			case !ends:
				e.at(end, l.LastGood.For)
			}
		}
	}
}
