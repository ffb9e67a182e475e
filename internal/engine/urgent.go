package engine

import "time"

// urgent reports whether an event may be a link's failure, and needs nothing of the tables. Such events have a queue of their own:
// they wait for nothing that neighbors say, and are in order among themselves.
func urgent(ev Event) bool {
	switch ev.(type) {
	case CarrierChanged, NeighborSeen, BFDChanged, Probed:
		return true
	}
	return false
}

// urgentEvery is how many prefixes are worked on until it is asked whether something is urgent: a tenth of a millisecond at most.
const urgentEvery = 1 << 8

// hearUrgent is called while tables are worked on, which takes a tenth of a second and more. A link that fails meanwhile does not
// wait for that: its groups move at once, as in the quick half of a failover.
func (e *Engine) hearUrgent() {
	if !e.walking || len(e.urgent) == 0 {
		return
	}
	for len(e.urgent) > 0 {
		e.handleUrgent(<-e.urgent)
	}
	e.moveGroups()
}

// hearUrgentUntil does the same until other work is done.
func (e *Engine) hearUrgentUntil(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case ev := <-e.urgent:
			e.handleUrgent(ev)
			e.moveGroups()
		}
	}
}

func (e *Engine) handleUrgent(ev Event) {
	e.now = time.Now()
	e.handle(ev)
}

func (e *Engine) moveGroups() {
	if e.sent.any && !e.replace && e.statesChanged() {
		e.noteMoves()
		e.submit(e.sent.mode, false)
	}
}

// another is the next event that is there already.
func (e *Engine) another() (Event, bool) {
	select {
	case ev := <-e.urgent:
		return ev, true
	default:
	}
	select {
	case ev := <-e.inbox:
		return ev, true
	default:
		return nil, false
	}
}
