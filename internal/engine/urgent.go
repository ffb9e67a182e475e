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

// hearUrgent is called while a whole table is decided, which takes a tenth of a second and more. A link that fails meanwhile does
// not wait for that: its groups move at once, as in the quick half of a failover. All other events keep their order for later.
func (e *Engine) hearUrgent() {
	heard := false
	for len(e.inbox) > 0 && len(e.pending) < maxPending {
		ev := <-e.inbox
		if !urgent(ev) {
			e.pending = append(e.pending, ev)
			continue
		}
		e.now, heard = time.Now(), true
		e.handle(ev)
	}
	if heard && e.sent.any && !e.replace && e.statesChanged() {
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
