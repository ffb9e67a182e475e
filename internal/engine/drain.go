package engine

import (
	"fmt"
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
