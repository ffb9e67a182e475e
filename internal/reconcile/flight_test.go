package reconcile

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/kstate"
)

// TestATableIsWrittenUnheard: while many routes are written the kernel need not tell of each, also between lots of one table; what
// somebody else did meanwhile is repaired afterwards. A few routes change nothing.
func TestATableIsWrittenUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		submit := func(routes []kstate.RouteChange, more, deaf bool) {
			t.Helper()
			b.Routes, b.More = routes, more
			f.r.Submit(b.Batch)
			b.Sequence++
			synctest.Wait()
			if f.kernel.Deaf() != deaf {
				t.Errorf("deaf: %t behind batch %d", !deaf, b.Sequence-1)
			}
		}
		all := manyRoutes(3 * heardRoutes)
		submit(all[:heardRoutes-10], true, false)
		submit(all[heardRoutes-10:2*heardRoutes], true, true)
		foreign := kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix("6.0.0.0/8"), Metric: 100}, Type: kstate.Blackhole}
		f.kernel.Apply(t.Context(), []kstate.Change{kstate.PutRoute(foreign)}) // nobody hints at it
		submit(all[2*heardRoutes:], false, false)
		time.Sleep(2 * hintPause)
		synctest.Wait()
		if s := f.r.Status(); s.Repaired != 1 || s.Comparisons != 1 || s.Agrees {
			t.Errorf("status %+v", s)
		}
		for i := range all[:maxBatch] {
			all[i].Route.Type, all[i].Route.Nexthop = kstate.Blackhole, 0
		}
		submit(all[:maxBatch], false, false)
		time.Sleep(2 * hintPause)
		synctest.Wait()
		if s := f.r.Status(); s.Comparisons != 1 || s.Pending != 0 {
			t.Errorf("status %+v", s)
		}
	})
}
