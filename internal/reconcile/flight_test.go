package reconcile

import (
	"net/netip"
	"runtime"
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

// TestALotOfDeletionsIsLaunchedOnce: it is not taken back again and again before the goroutine that writes had its first turn, which
// with one processor takes that until it is preempted, and counts as a table of routes.
func TestALotOfDeletionsIsLaunchedOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f := start(t, false)
	b := f.batch()
	b.Routes = manyRoutes(maxBatch)
	f.r.Submit(b.Batch)
	f.stop()
	defer f.r.fly(t.Context())()
	for i := range b.Routes {
		b.Routes[i].Delete = true
	}
	b.Sequence++
	f.r.Submit(b.Batch)
	f.r.turn(t.Context())
	if f.r.hinted || f.r.routes.len() != 0 {
		t.Errorf("%d routes are left; hinted: %t", f.r.routes.len(), f.r.hinted)
	}
}

// TestLotsAreAcceptedOneByOne, unless many routes wait for the end of the table and would be looked at for each.
func TestLotsAreAcceptedOneByOne(t *testing.T) {
	for wait, left := range map[int]int{maxUnready: 2, maxUnready + 1: 0} {
		f := start(t, false)
		b := f.batch()
		b.Routes = manyRoutes(wait)
		f.r.Submit(b.Batch)
		f.stop()
		end := f.r.fly(t.Context())
		deleted := manyRoutes(wait)
		for i := range deleted {
			deleted[i].Delete = true
		}
		b.More, b.Routes = true, deleted
		f.r.Submit(b.Batch)
		f.r.turn(t.Context())
		for i := range 3 {
			b.Routes = manyRoutes(wait + 1 + i)[wait:]
			f.r.Submit(b.Batch)
		}
		f.r.acceptNext(t.Context())
		if len(f.r.pending) != left {
			t.Errorf("%d of 3 lots are left where %d routes wait, want %d", len(f.r.pending), wait, left)
		}
		end()
	}
}
