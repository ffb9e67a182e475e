package engine

import "time"

// maxPending bounds what is put off during a walk: as much again as the inbox holds.
const maxPending = 64

// urgent reports whether an event may be a link's failure, and needs nothing of the tables.
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
// wait for that: its groups move at once, as in the quick half of a failover. All other events keep their order for later.
func (e *Engine) hearUrgent() {
	if !e.walking {
		return
	}
	heard := false
	for len(e.inbox) > 0 && len(e.pending) < maxPending {
		heard = e.hearOrPutOff(<-e.inbox) || heard
	}
	if heard {
		e.moveGroups()
	}
}

// hearUrgentUntil does the same until other work is done.
func (e *Engine) hearUrgentUntil(done <-chan struct{}) {
	for {
		inbox := e.inbox
		if len(e.pending) >= maxPending {
			inbox = nil
		}
		select {
		case <-done:
			return
		case ev := <-inbox:
			if e.hearOrPutOff(ev) {
				e.moveGroups()
			}
		}
	}
}

// hearOrPutOff takes an event now, if it is urgent, and says so.
func (e *Engine) hearOrPutOff(ev Event) bool {
	if !urgent(ev) {
		e.pending = append(e.pending, ev)
		return false
	}
	e.now = time.Now()
	e.handle(ev)
	return true
}

func (e *Engine) moveGroups() {
	if e.sent.any && !e.replace && e.statesChanged() {
		e.noteMoves()
		e.submit(e.sent.mode, false)
	}
}

// another is the next event that is there already.
func (e *Engine) another() (Event, bool) {
	if len(e.pending) > 0 {
		ev := e.pending[0]
		e.pending = e.pending[1:]
		return ev, true
	}
	select {
	case ev := <-e.inbox:
		return ev, true
	default:
		return nil, false
	}
}
