package reconcile

import (
	"context"
	"fmt"
	"sync"
)

// standStill is a wish that the loop stands still.
type standStill struct {
	still chan struct{} // closed when it does
	over  chan struct{} // closed when it may go on
}

// Pause has what was submitted written, as far as the kernel takes it, and the loop stand still then: nothing is read or
// written before resume is called, nor where Run's context ends meanwhile.
func (r *Reconciler) Pause(ctx context.Context) (resume func(), err error) {
	p := standStill{make(chan struct{}), make(chan struct{})}
	var once sync.Once
	resume = func() { once.Do(func() { close(p.over) }) }
	select {
	case r.pauses <- p:
	case <-ctx.Done():
		return nil, fmt.Errorf("reconciler: does not stop: %w", ctx.Err())
	}
	select {
	case <-p.still:
		return resume, nil
	case <-ctx.Done():
		resume()
		return nil, fmt.Errorf("reconciler: does not stop: %w", ctx.Err())
	}
}
