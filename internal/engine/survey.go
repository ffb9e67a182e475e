package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"bothways/internal/flow"
	"bothways/internal/plan"
	"bothways/internal/route"
)

// surveyPause is from the last change of links to the survey: connections that are to move have moved by then. While some
// are astray they are counted again every surveyEvery.
const (
	surveyPause = 2 * time.Second
	surveyEvery = 30 * time.Second
)

// Astray counts connections that inside hosts opened and that are not where they would be if they were opened now.
type Astray struct {
	// Staying are on a living link, while new ones to the same addresses take another: after a failback, maybe on a line
	// that is paid for by what passes.
	Staying int
	// Stranded have the addresses of a link that is dead, or has no route to where they go, and there is nowhere to move
	// them to.
	Stranded int
}

// survey counts the connections of a link in a family.
type survey struct {
	known Astray // of the last complete list
	next  Astray // of the list that is coming in
	by    route.LinkSet
	tell  bool // what is found next is for the journal

	unanswered, nextUnanswered int // connections from inside, of the last complete list and of the one that is coming in
	at                         time.Time
}

// surveySoon has all connections looked at once the links have been quiet for a while.
func (e *Engine) surveySoon() {
	e.at(dueKey{what: "survey"}, surveyPause)
	e.surveyTells = true
}

// survey asks for the connections of every link that has any of its own.
func (e *Engine) survey() {
	if e.sent.mode == plan.Hold {
		e.at(dueKey{what: "survey"}, surveyPause) // what the neighbors have not said yet cannot be judged by
		return
	}
	for _, s := range e.surveys {
		if s.known != (Astray{}) {
			e.at(dueKey{what: "survey"}, surveyEvery) // also where no list comes
		}
	}
	for _, t := range e.tables {
		for _, l := range e.links {
			if !l.Has(t.f) {
				continue
			}
			s := e.surveyOf(moveKey{l.number, t.f})
			s.tell = s.tell || e.surveyTells
			m := e.flowMark(l.number, t.f)
			m.Counted = true
			e.deps.Flows.List(m)
		}
	}
	e.surveyTells = false
}

func (e *Engine) surveyOf(k moveKey) *survey {
	s := e.surveys[k]
	if s == nil {
		s = &survey{}
		e.surveys[k] = s
	}
	return s
}

// note counts a connection of link l.
func (s *survey) note(l route.Link, f flow.Flow, inside []netip.Prefix, situation flow.Situation) {
	opened := false
	for _, n := range inside {
		opened = opened || n.Contains(f.Source.Addr())
	}
	if opened && !f.Inbound && !f.Answered {
		s.nextUnanswered++
	}
	verdict := flow.Judge(l, situation)
	switch using := route.NewLinkSet(situation.Using...); {
	case !opened || f.Inbound:
	case verdict == flow.Nowhere:
		s.next.Stranded++
	case verdict == flow.Stay && !using.Has(l) && !using.Empty():
		s.next.Staying++
		for _, u := range situation.Using {
			s.by.Add(u)
		}
	}
}

// surveyed takes the count of a list that is complete.
func (e *Engine) surveyed(k moveKey) {
	s := e.surveyOf(k)
	before := s.known
	s.known, s.next = s.next, Astray{}
	s.unanswered, s.nextUnanswered, s.at = s.nextUnanswered, 0, e.now
	e.publishSoon()
	by := s.by
	s.by = route.LinkSet{}
	if s.known != before {
		e.changed = true
	}
	if s.known != (Astray{}) {
		if key := (dueKey{what: "survey"}); e.due[key].IsZero() {
			e.at(key, surveyEvery)
		}
	}
	subject := SessionKey{e.names([]route.Link{k.link})[0], k.family}.String()
	switch {
	case s.known == (Astray{}) && before != (Astray{}):
		e.note("connections", subject, "none of the connections is left")
	case s.tell && s.known.Staying > 0:
		e.note("connections", subject, fmt.Sprintf("%s here, new ones to the same addresses go by %s",
			counted(s.known.Staying, "connection stays", "connections stay"), strings.Join(e.names(by.Links()), ", ")))
	}
	if s.tell && s.known.Stranded > 0 {
		of := "this link, which has no route to where they go,"
		if e.state(e.tables[at(k.family)]).Dead.Has(k.link) {
			of = "this dead link"
		}
		e.note("connections", subject, counted(s.known.Stranded, "connection has the addresses of "+of+" and nowhere else to go: it waits for it",
			"connections have the addresses of "+of+" and nowhere else to go: they wait for it"))
	}
	s.tell = false
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
