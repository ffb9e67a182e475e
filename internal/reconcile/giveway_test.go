package reconcile

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/kstate"
)

// readKernel tells of each route that is read.
type readKernel struct {
	fakeKernel
	read func()
}

func (k readKernel) Routes(ctx context.Context, fn func(kstate.Route) error) error {
	return k.fakeKernel.Routes(ctx, func(r kstate.Route) error {
		k.read()
		return fn(r)
	})
}

// TestAComparisonGivesWay: a failover does not wait until all routes are read; where there is one after the other, a comparison
// comes to its end all the same. What only brings routes waits.
func TestAComparisonGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		b := f.batch()
		b.Routes = manyRoutes(10 * askEvery)
		f.r.Submit(b.Batch)
		synctest.Wait()
		f.stop()

		f.kernel.Applied()
		var read, all atomic.Int64 // the loop counts between two looks of the test
		failovers := 0
		moved := b.Batch
		moved.Routes = nil
		submit := func() {
			failovers++
			moved.Sequence++
			moved.Objects.Nexthops = slices.Clone(b.Objects.Nexthops)
			moved.Objects.Nexthops[2].Members = []kstate.Member{{ID: kstate.NexthopFirst + 1 + kstate.NexthopID(failovers%2), Weight: 1}}
			f.r.Submit(moved)
		}
		routes := moved
		routes.Routes = b.Routes[:1]
		f.r.kernel = readKernel{f.kernel, func() {
			switch read.Add(1) {
			case 10 * askEvery:
				all.Add(1)
			case 1:
				f.r.Submit(routes)
			case askEvery + 1:
				submit()
			}
		}}
		ctx, end := context.WithCancel(t.Context())
		defer end()
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.r.Run(ctx)
		}()
		for range maxGiveWay {
			read.Store(0)
			f.r.Hint()
			time.Sleep(hintPause + time.Millisecond)
			synctest.Wait()
			if read.Load() != 2*askEvery || all.Load() != 0 {
				t.Fatalf("read %d routes, all of them %d times, with a failover after %d", read.Load(), all.Load(), askEvery+1)
			}
			if got := f.kernel.Applied(); len(got) == 0 || got[0].Nexthop == nil {
				t.Fatalf("wrote %v instead of the failover", got)
			}
		}
		read.Store(0)
		time.Sleep(hintPause)
		synctest.Wait()
		if all.Load() != 1 {
			t.Errorf("read %d routes after %d comparisons that gave way", read.Load(), maxGiveWay)
		}
		if !f.r.Status().Agrees {
			t.Error("the comparison found something else")
		}
		end()
		<-done
	})
}
