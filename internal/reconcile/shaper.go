package reconcile

import "context"

// writeShapers sets up the limits of interfaces where they changed, and where there are some after each comparison. A
// refusal is told once: it is an interface whose queues belong to somebody else, and everything else goes on.
func (r *Reconciler) writeShapers(ctx context.Context) {
	for _, s := range r.shapers {
		text := s.String()
		// Without classes too, once: an earlier daemon may have left some.
		if done, ok := r.shapersDone[s.Interface]; ok && done == text {
			continue
		}
		if r.shapersDone == nil {
			r.shapersDone = map[int]string{}
		}
		r.shapersDone[s.Interface] = text
		if err := r.queues.Apply(ctx, s); err != nil {
			r.refused++
			r.refuse(err.Error())
		}
	}
}
