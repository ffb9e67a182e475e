package reconcile

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
	"bothways/internal/plan"
)

// TestNothingGoesBeforeTheRest: of a batch that waits for more, what is new is written, and nothing but rules is deleted.
func TestNothingGoesBeforeTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		f.r.Submit(b.Batch)
		synctest.Wait()
		old, unused := b.Routes[0].Route, b.Objects.Nexthops[2]
		other := unused
		other.ID++
		fine := kstate.Route{RouteKey: old.RouteKey, Type: kstate.Unicast, Nexthop: other.ID}
		fine.Metric++
		lot := b.Batch
		lot.Sequence, lot.More = 2, true
		lot.Objects = plan.Objects{Nexthops: append(slices.Clone(b.Objects.Nexthops[:2]), other)}
		lot.Routes = []kstate.RouteChange{{Route: old, Delete: true}, {Route: fine}}
		f.r.Submit(lot)
		synctest.Wait()
		has := func(what string, want bool) {
			t.Helper()
			if strings.Contains(f.kernel.String(), what) != want {
				t.Errorf("%s in the kernel: %v, want %v:\n%s", what, !want, want, f.kernel)
			}
		}
		has(old.String(), true)
		has(fine.String(), true)
		has(unused.String(), true)
		has(b.Objects.Rules[0].String(), false)
		lot.Sequence, lot.More, lot.Routes = 3, false, nil
		f.r.Submit(lot)
		synctest.Wait()
		has(old.String(), false)
		has(fine.String(), true)
		has(unused.String(), false)
		if st := f.r.Status(); st.Pending != 0 || st.Sequence != 3 {
			t.Errorf("status %+v", st)
		}
	})
}
