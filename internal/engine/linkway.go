package engine

import "time"

// linkWay is when the kernel first had a route in a link's own table, by which its probes go.
type linkWay struct {
	sequence uint64    // of the batch with it; 0: there was none yet
	since    time.Time // when that was in the kernel; zero: it is not yet
}

// findWays notes which links reach something for the first time with the batch that is handed on.
func (e *Engine) findWays() {
	for _, t := range e.tables {
		reach := t.fib.Reach()
		for _, l := range e.links {
			if w := &l.ways[at(t.f)]; w.sequence == 0 && reach.Has(l.number) {
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

// couldAsk reports whether a probe without an answer was sent when its link had had a way to send it by. Before its neighbor has said
// anything at all, the kernel takes every target for a host on the wire, and nobody is there: that says nothing of the link. A way that
// is lost says something. After a takeover the kernel has what the daemon before wrote.
func (e *Engine) couldAsk(l *link, ev Probed) bool {
	f := ev.Key.Family
	if s := &l.session[at(f)]; s.taken && !s.complete {
		return true
	}
	w := l.ways[at(f)]
	return !w.since.IsZero() && (ev.Sent.IsZero() || !ev.Sent.Before(w.since))
}
