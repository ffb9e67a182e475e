package reconcile

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
		f.r.Hint()
		time.Sleep(hintPause + time.Millisecond)
		synctest.Wait()
		if st := f.r.Status(); st.Comparisons != 1 || !st.Agrees || st.Disagreed != 0 {
			t.Errorf("what waits on purpose is counted as a disagreement: %+v", st)
		}
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

// TestNoWayGoesWithItsRoute: a route whose new nexthop cannot exist now does not stay with the old one.
func TestNoWayGoesWithItsRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		other := kstate.Route{RouteKey: b.Routes[0].Route.RouteKey, Type: kstate.Unicast, Nexthop: b.Routes[0].Route.Nexthop}
		other.Metric++ // keeps the group
		b.Routes = append(b.Routes, kstate.RouteChange{Route: other})
		f.r.Submit(b.Batch)
		synctest.Wait()
		moved := b.Routes[0].Route
		moved.Nexthop++
		b.Sequence, b.Routes = 2, []kstate.RouteChange{{Route: moved}}
		f.r.Submit(b.Batch)
		synctest.Wait()
		if got := f.kernel.String(); strings.Count(got, "4.0.0.0/8") != 1 || f.r.Status().Pending != 1 {
			t.Errorf("%d routes wait, the kernel holds\n%s", f.r.Status().Pending, got)
		}
		group := b.Objects.Nexthops[2]
		group.ID = moved.Nexthop
		b.Sequence, b.Routes, b.Objects.Nexthops = 3, nil, append(slices.Clone(b.Objects.Nexthops), group)
		f.r.Submit(b.Batch)
		synctest.Wait()
		if got := f.kernel.String(); !strings.Contains(got, moved.String()) || f.r.Status().Pending != 0 {
			t.Errorf("the nexthop is there, and the kernel holds\n%s", got)
		}
	})
}
