package engine

import (
	"time"
)

// linkWay is what the kernel has of a link's own table, by which its probes go.
type linkWay struct {
	sequence uint64    // of the batch with the first route by the link; 0: there is none
	since    time.Time // when that was in the kernel; zero: it is not yet
}

// findWays notes which links reach anything as of the batch that is handed on.
func (e *Engine) findWays() {
	for _, t := range e.tables {
		reach := t.fib.Reach()
		for _, l := range e.links {
			switch w := &l.ways[at(t.f)]; {
			case !reach.Has(l.number):
				*w = linkWay{}
			case w.sequence == 0:
				w.sequence = e.sequence
			}
		}
	}
}

func (e *Engine) waysApplied(ev Applied) {
	for _, l := range e.links {
		for i := range l.ways {
			if w := &l.ways[i]; w.sequence != 0 && w.since.IsZero() && ev.Sequence >= w.sequence {
				w.since = ev.At
			}
		}
	}
}

// couldAsk reports whether a probe without an answer was sent where its link had a way to send it by. Before its neighbor has said
// anything, the kernel takes every target for a host on the wire, and nobody is there: that says nothing of the link. After a takeover the
// kernel has what the daemon before wrote.
func (e *Engine) couldAsk(l *link, ev Probed) bool {
	f := ev.Key.Family
	if s := &l.session[at(f)]; s.taken && !s.complete {
		return true
	}
	w := l.ways[at(f)]
	return !w.since.IsZero() && (ev.Sent.IsZero() || !ev.Sent.Before(w.since))
}
