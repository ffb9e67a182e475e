package reconcile

import (
	"slices"
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
)

// TestFirstStaysFirst has a group written behind one that should be the first to go with its device: that one is written
// again, once, behind the routes.
func TestFirstStaysFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		group := func(n kstate.Nexthop) bool { return n.Group() }
		i := slices.IndexFunc(b.Objects.Nexthops, group)
		first := b.Objects.Nexthops[i]
		b.Objects.First = []kstate.NexthopID{first.ID}
		f.r.Submit(b.Batch)
		synctest.Wait()
		f.kernel.Applied()
		later := first
		later.ID++
		b.Objects.Nexthops = append(slices.Clone(b.Objects.Nexthops), later)
		for _, want := range [][]string{{kstate.PutNexthop(later).String(), kstate.PutNexthop(first).String()}, nil} {
			b.Sequence++
			f.r.Submit(b.Batch)
			synctest.Wait()
			var got []string
			for _, c := range f.kernel.Applied() {
				got = append(got, c.String())
			}
			if !slices.Equal(got, want) {
				t.Errorf("wrote %v, want %v", got, want)
			}
		}
	})
}

// TestTheLastWayGoesFirst: of a prefix in a table, what others are preferred to is deleted before them.
func TestTheLastWayGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		for _, metric := range []uint32{kstate.MetricTier, kstate.MetricEnd} {
			x := b.Routes[0]
			x.Route.Metric = metric
			b.Routes = append(b.Routes, x)
		}
		f.r.Submit(b.Batch)
		synctest.Wait()
		f.kernel.Applied()
		for i := range b.Routes {
			b.Routes[i].Delete = true
		}
		b.Sequence++
		f.r.Submit(b.Batch)
		synctest.Wait()
		var got []uint32
		for _, c := range f.kernel.Applied() {
			if c.Route != nil {
				got = append(got, c.Route.Metric)
			}
		}
		if want := []uint32{kstate.MetricEnd, kstate.MetricTier, kstate.MetricRanking}; !slices.Equal(got, want) {
			t.Errorf("deletes metrics %v, want %v", got, want)
		}
	})
}
