package reconcile

import (
	"context"

	"bothways/internal/kstate"
)

// flight is the lot of routes that is being written, by a goroutine of its own: meanwhile the loop collects the next one, and takes
// what was submitted. There is at most one, and whatever else is written waits until it has landed.
type flight struct {
	lot    *lot                  // nil: none
	landed chan []kstate.Failure // what the kernel refused
}

// launch has a lot written. None may be in the air.
func (r *Reconciler) launch(ctx context.Context, l *lot) {
	if r.flight.landed == nil {
		r.flight.landed = make(chan []kstate.Failure, 1)
	}
	r.flight.lot = l
	kernel, landed := r.kernel, r.flight.landed
	go func() { landed <- kernel.Apply(ctx, l.changes) }()
}

// land waits for the lot that is in the air, and notes what the kernel took. It reports whether it took all.
func (r *Reconciler) land() bool {
	l := r.flight.lot
	if l == nil {
		return true
	}
	r.flight.lot = nil
	failures := <-r.flight.landed
	failed := r.failed(failures)
	for i := range l.changes {
		c := &l.changes[i]
		if len(failed) > 0 && failed[c.String()] {
			r.skip[c.Route.RouteKey] = true
			r.routes.again(c, l.places[i])
			continue
		}
		r.routes.wrote(c, l.places[i])
	}
	return len(failures) == 0
}

// putRoutes writes the routes that are wanted. It is not done where it stopped because something else is wanted by now; a lot may be
// in the air then.
func (r *Reconciler) putRoutes(ctx context.Context) (done, ok bool) {
	ok = true
	for {
		next := r.dirtyPuts() // while the one before is written
		flew := r.flight.lot != nil
		ok = r.land() && ok
		if len(next.changes) == 0 {
			if flew {
				continue // what changed while it was written
			}
			return true, ok
		}
		if _, urgent := r.waiting(); urgent {
			for i := range next.changes {
				r.routes.again(&next.changes[i], next.places[i])
			}
			return false, ok
		}
		r.launch(ctx, next)
		if any, _ := r.waiting(); any {
			return false, ok
		}
	}
}
