package reconcile

import (
	"context"

	"bothways/internal/kstate"
)

// flight is the lots of routes that are being written, by a goroutine of its own: meanwhile the loop takes what was submitted, and
// collects the next lot. One is in the kernel's hands, and at most one waits behind it, so that the kernel need not.
// Whatever else is written comes when the first has landed, and the other is taken back.
type flight struct {
	out    chan *lot
	landed chan landing
	aloft  int // how many are out and have not landed
	flown  int // routes since the last hear
	deaf   bool
}

type landing struct {
	*lot
	failures []kstate.Failure // what the kernel refused
}

const maxAloft = 2

// fly begins to write what is launched; end ends it when nothing is aloft.
func (r *Reconciler) fly(ctx context.Context) (end func()) {
	out, landed := make(chan *lot, maxAloft), make(chan landing, maxAloft)
	r.flight = flight{out: out, landed: landed}
	go func() {
		for l := range out {
			landed <- landing{l, r.kernel.Apply(ctx, l.changes)}
		}
	}()
	return func() { close(out) }
}

// launch has a lot written. Fewer than maxAloft may be aloft.
func (r *Reconciler) launch(l *lot) {
	f := &r.flight
	if f.flown += len(l.changes); f.flown > heardRoutes && !f.deaf {
		f.deaf = true
		r.hearRoutes(false)
	}
	f.aloft++
	f.out <- l
}

// heardRoutes is after how many routes, written without a pause, the kernel is no longer asked to tell of them: those of a table.
const heardRoutes = 1 << 13

// hear ends what many routes began. What others did meanwhile was not told: a comparison finds it.
func (r *Reconciler) hear() {
	f := &r.flight
	if f.flown = 0; f.deaf {
		f.deaf = false
		r.hearRoutes(true)
		r.Hint()
	}
}

func (r *Reconciler) hearRoutes(hear bool) {
	if err := r.kernel.HearRoutes(hear); err != nil {
		r.log.Warn("cannot change whether the kernel tells of routes", "error", err)
	}
}

// land waits until nothing is aloft, and reports whether the kernel took all that landed.
func (r *Reconciler) land() bool {
	for back := false; !back; {
		select {
		case l := <-r.flight.out:
			r.flight.aloft--
			for i := range l.changes {
				r.routes.again(&l.changes[i], l.places[i])
			}
			r.free(l)
		default:
			back = true
		}
	}
	ok := true
	for r.flight.aloft > 0 {
		ok = r.landed(<-r.flight.landed) && ok
	}
	return ok
}

// landed notes what the kernel took of a lot, and reports whether it took all.
func (r *Reconciler) landed(x landing) bool {
	r.flight.aloft--
	failed := r.failed(x.failures)
	for i := range x.changes {
		c := &x.changes[i]
		if len(failed) > 0 && failed[c.String()] {
			r.skip[c.Route.RouteKey] = true
			r.routes.again(c, x.places[i])
			continue
		}
		r.routes.wrote(c, x.places[i])
	}
	r.free(x.lot)
	return len(x.failures) == 0
}

// putRoutes writes the routes that are wanted. It is not done where something else was submitted meanwhile; lots may be aloft then,
// unless that is urgent.
func (r *Reconciler) putRoutes() (done, ok bool) {
	ok = true
	for {
		some, urgent := r.waiting()
		if urgent {
			return false, r.land() && ok
		}
		for r.flight.aloft < maxAloft {
			l := r.dirtyPuts()
			if len(l.changes) == 0 {
				r.free(l)
				break
			}
			r.launch(l)
		}
		var x landing
		switch {
		case r.flight.aloft == 0:
			return !some, ok
		case some:
			select {
			case x = <-r.flight.landed:
			default:
				return false, ok
			}
		default:
			select {
			case x = <-r.flight.landed:
			case <-r.arrived:
				continue
			}
		}
		ok = r.landed(x) && ok
	}
}
