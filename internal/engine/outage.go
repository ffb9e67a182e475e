package engine

import (
	"fmt"
	"slices"
	"time"

	"bothways/internal/flow"
	"bothways/internal/route"
)

// outage is a failure whose way through the phases is timed. What is told of it is a function of what was noted.
type outage struct {
	link     string
	cause    Cause
	what     string
	evidence Sign
	cut      [2]bool // connections of the family were
	seen     time.Time
	decided  time.Time // when the first batch was handed over
	first    uint64    // sequence of the first batch that answers it: the groups
	last     uint64    // and of the one behind it: the routes
	written  time.Time
	speaks   speaks
	lost     unanswered
}

// Bounds of what is timed.
const (
	maxOutages = 16
	// outageKept is how long connections that are cut are put down to an outage.
	outageKept = 30 * time.Second
)

// startOutage begins one of a link in some families.
func (e *Engine) startOutage(l *link, families [2]bool, cause Cause, what string, evidence Sign) {
	e.outages = slices.DeleteFunc(e.outages, func(o outage) bool { return e.now.Sub(o.seen) > outageKept })
	if told := func(o outage) bool { return o.last == outageTold }; len(e.outages) == maxOutages && slices.ContainsFunc(e.outages, told) {
		// What is cut, or lost, for the oldest that has been told of is no longer put down to it.
		i := slices.IndexFunc(e.outages, told)
		e.outages = slices.Delete(e.outages, i, i+1)
	}
	if len(e.outages) < maxOutages {
		o := outage{link: l.FullName(), cause: cause, what: what, evidence: evidence, seen: e.now}
		o.lost.begin(families, l.streams)
		e.outages = append(e.outages, o)
	}
}

// outagesAnswered notes which batches answer the outages of this turn. The clock is read again: what the turn took is what
// is measured.
func (e *Engine) outagesAnswered(withRoutes bool) {
	for i := range e.outages {
		o := &e.outages[i]
		if o.first == 0 {
			o.first, o.decided = e.sequence, time.Now()
		}
		if o.last == 0 && withRoutes {
			o.last = e.sequence
		}
	}
}

// turnOutages ends the turn for its outages: those that changed nothing are dropped, as no batch answers them; and where no batch had
// routes, a later one is not about them.
func (e *Engine) turnOutages() {
	e.outages = slices.DeleteFunc(e.outages, func(o outage) bool { return o.first == 0 })
	for i := range e.outages {
		if o := &e.outages[i]; o.last == 0 {
			o.last = o.first
		}
	}
}

// applied tells of outages whose answer is in the kernel.
func (e *Engine) applied(ev Applied) {
	e.appliedSequence = max(e.appliedSequence, ev.Sequence)
	e.waysApplied(ev)
	for i := range e.outages {
		o := &e.outages[i]
		if o.first == 0 || ev.Sequence < o.first {
			continue
		}
		if o.written.IsZero() {
			o.written = ev.At
		}
		if ev.Sequence < o.last || o.last == outageTold {
			continue
		}
		n := o.failover(ev.At)
		e.tally.failed(o)
		e.tally.took(o, n.Phases...)
		e.noteEntry(n)
		o.last = outageTold
	}
}

// outageTold stands for a batch that will never come: the outage is told.
const outageTold = ^uint64(0)

// failover tells of the phases up to the kernel's, which has everything since at.
func (o *outage) failover(at time.Time) JournalEntry {
	phases := o.evidence.phases(o.seen)
	sign, kind := "", SignKind("")
	if !o.evidence.At.IsZero() {
		kind = o.evidence.Kind
		sign = fmt.Sprintf("; %s %s before", kind, milliseconds(phases[0].After))
	}
	decided, kernel := o.decided.Sub(o.seen), o.written.Sub(o.seen)
	phases = append(phases, Phase{PhaseDecided, decided}, Phase{PhaseKernel, kernel})
	text := fmt.Sprintf("kernel written %s after it was seen, decided after %s", milliseconds(kernel), milliseconds(decided))
	if o.last > o.first {
		routes := at.Sub(o.seen)
		phases = append(phases, Phase{PhaseRoutes, routes})
		text += fmt.Sprintf(", routes after %s", milliseconds(routes))
	}
	return JournalEntry{At: at, Kind: "failover", Subject: o.what, Text: text + sign, Cause: o.cause, Evidence: kind, Phases: phases}
}

// flowsCut tells of connections that were cut, and how long after the outage that they were cut for.
func (e *Engine) flowsCut(ev FlowsCut) {
	link := e.names([]route.Link{ev.Mark.Link})[0]
	n := JournalEntry{At: ev.At, Kind: "flows", Subject: SessionKey{link, ev.Mark.Family}.String(), Text: flowsText(ev.Count)}
	for i := range slices.Backward(e.outages) {
		if o := &e.outages[i]; o.link == link && ev.At.Sub(o.seen) < outageKept {
			n.Cause, n.Phases = o.cause, []Phase{{PhaseConnections, ev.At.Sub(o.seen)}}
			if cut := o.cut; cut == ([2]bool{}) {
				e.tally.took(o, n.Phases...)
			}
			o.cut[at(ev.Mark.Family)] = true
			n.Text += fmt.Sprintf(", %s after %s was seen", milliseconds(ev.At.Sub(o.seen)), o.what)
			break
		}
	}
	e.noteEntry(n)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

// FlowsCut tells how many connections of a link were cut.
type FlowsCut struct {
	Mark  flow.Mark
	Count int
	At    time.Time
}

func (FlowsCut) event() {}
