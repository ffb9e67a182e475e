package engine

import (
	"fmt"
	"slices"
	"time"

	"bothways/internal/route"
)

// drain sets or ends a link's drain. No track ends it.
func (e *Engine) drain(ev Drain) error {
	l := e.linkNamed(ev.Link)
	if l == nil {
		return fmt.Errorf("no link %s: want one of %v", ev.Link, e.linkNames())
	}
	usable := l.usable()
	for _, t := range e.tables {
		t.drained.Remove(l.number)
		t.moved.Remove(l.number)
		if ev.On {
			t.drained.Add(l.number)
		}
		if ev.On && ev.Move {
			t.moved.Add(l.number)
		}
	}
	text := "drained: every other link is preferred"
	switch {
	case !ev.On:
		text = "no longer drained"
	case ev.Move:
		text += ", and its connections move along"
	}
	e.note("drain", l.FullName(), text)
	if ev.On && usable != ([2]bool{}) {
		e.startOutage(l, usable, CauseDrain, l.FullName()+" drained", Sign{SignCommand, ev.At, time.Time{}})
	}
	e.speak()
	return nil
}

// keepDrains has the links of a new configuration drained that the old one's were: a drain is of the link that was named, whatever
// its interface is now; where there is none of that name any more, of a new one that has its interface.
func (e *Engine) keepDrains(old []*link) {
	after := func(l *link) *link {
		if now := e.linkNamed(l.FullName()); now != nil {
			return now
		}
		for _, now := range e.links {
			named := func(x *link) bool { return x.FullName() == now.FullName() }
			if now.Interface == l.Interface && !slices.ContainsFunc(old, named) {
				return now
			}
		}
		return nil
	}
	for _, t := range e.tables {
		var drained, moved route.LinkSet
		for _, l := range old {
			now := after(l)
			if now != nil && t.drained.Has(l.number) {
				drained.Add(now.number)
			}
			if now != nil && t.moved.Has(l.number) {
				moved.Add(now.number)
			}
		}
		t.drained, t.moved = drained, moved
	}
}

func (e *Engine) linkNames() []string {
	var out []string
	for _, l := range e.links {
		out = append(out, l.FullName())
	}
	return out
}

// speak tells the speaker which sessions to run, and what each announces: on a drained link with the community for a
// graceful shutdown (RFC 8326), so that what comes in moves away too, where the neighbor honours it.
func (e *Engine) speak() {
	all := sessions(e.cfg, e.links, e.restart.Found)
	for i := range all {
		l := e.linkNamed(all[i].Key.Link)
		if !e.tables[at(all[i].Key.Family)].drained.Has(l.number) || l.path.Provider.Rules.IgnoresCommunities {
			continue
		}
		for j := range all[i].Announce {
			all[i].Announce[j].Communities = append(all[i].Announce[j].Communities, route.GracefulShutdown)
		}
	}
	e.noteSpeaks(all)
	e.deps.Speaker.Configure(all)
}
