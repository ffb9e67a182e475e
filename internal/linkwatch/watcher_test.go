package linkwatch

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// fake is a kernel and a sink.
type fake struct {
	mu       sync.Mutex // the loops and the test meet here
	carrier  bool
	gone     bool
	fail     bool
	probes   int
	carriers []bool
	reads    int
	states   []kstate.NeighborState
	leaves   int
	pins     []string
}

func (f *fake) with(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fake) Interfaces(context.Context) ([]kstate.Interface, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail {
		return nil, errors.New("no buffer space")
	}
	return []kstate.Interface{{Index: 3, Name: "er0", Carrier: f.carrier}}, nil
}

func (f *fake) Gateway(_ context.Context, _ int, family route.Family) (netip.Addr, bool, error) {
	return netip.MustParseAddr("198.18.1.1"), family == route.IPv4, nil
}

func (f *fake) Poke(int) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return false, errors.New("no such device")
	}
	return f.carrier, nil
}

func (f *fake) ProbeNeighbor(int, netip.Addr) error {
	f.with(func() { f.probes++ })
	return nil
}

func (f *fake) Neighbor(int, netip.Addr) (kstate.Neighbor, error) {
	return kstate.Neighbor{State: kstate.NeighborReachable}, nil
}

type sink struct{ *fake }

func (s sink) Interfaces(time.Time, []kstate.Interface, map[int][2]Gateway) {
	s.with(func() { s.reads++ })
}
func (s sink) Carrier(_ int, up bool, _ time.Time) {
	s.with(func() { s.carriers = append(s.carriers, up) })
}
func (s sink) Neighbor(n kstate.Neighbor, _ time.Time) {
	s.with(func() { s.states = append(s.states, n.State) })
}

func watch(t *testing.T) (*fake, *Watcher) {
	f := &fake{carrier: true}
	w := New(f, sink{f}, slog.New(slog.DiscardHandler))
	w.Set([]Watched{{Index: 3, Neighbors: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}, {Index: 0}})
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { end(); <-done })
	return f, w
}

func TestCarrierIsSeenWithinAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := watch(t)
		time.Sleep(carrierEvery)
		synctest.Wait()
		f.with(func() { f.carrier = false })
		time.Sleep(carrierEvery)
		synctest.Wait()
		f.with(func() {
			if len(f.carriers) != 2 || !f.carriers[0] || f.carriers[1] {
				t.Errorf("told %v, want the first state and the change", f.carriers)
			}
		})
	})
}

// TestTheLastLookWithACarrierIsKnown bounds when a carrier was lost: after the last look that found it, which is no older than
// the time between two.
func TestTheLastLookWithACarrierIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := watch(t)
		time.Sleep(5 * carrierEvery)
		synctest.Wait()
		last := time.Now()
		f.with(func() { f.carrier = false })
		time.Sleep(5 * carrierEvery)
		synctest.Wait()
		if got := w.SeenOf(3); !got.Equal(last) {
			t.Errorf("last seen %v before the carrier was lost, want at once", last.Sub(got))
		}
		if all := w.Seen(); len(all) != 1 || !all[3].Equal(last) {
			t.Errorf("seen %v", all)
		}
		w.Set([]Watched{{Index: 4}})
		time.Sleep(2 * carrierEvery)
		synctest.Wait()
		if all := w.Seen(); !all[3].IsZero() {
			t.Errorf("an interface that is not watched is remembered: %v", all)
		}
	})
}

func TestNeighborsAreAskedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := watch(t)
		time.Sleep(3*neighborEvery + time.Millisecond)
		synctest.Wait()
		f.with(func() {
			if f.probes != 4 || len(f.states) != 4 {
				t.Errorf("%d probes and %d states in three periods", f.probes, len(f.states))
			}
		})
	})
}

func TestNobodyIsAskedWithoutACarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := watch(t)
		synctest.Wait()
		f.with(func() { f.carrier, f.probes = false, 0 })
		time.Sleep(5 * neighborEvery)
		synctest.Wait()
		f.with(func() {
			if f.probes != 0 {
				t.Errorf("%d probes without a carrier", f.probes)
			}
			f.carrier = true
		})
		time.Sleep(carrierEvery)
		synctest.Wait()
		f.with(func() {
			if f.probes != 1 {
				t.Errorf("%d probes when the carrier is back, want one at once", f.probes)
			}
		})
	})
}

func TestHintsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := watch(t)
		for range 50 {
			w.Reread()
		}
		time.Sleep(2 * settle)
		synctest.Wait()
		f.with(func() {
			if f.reads == 0 || f.reads > 2 {
				t.Errorf("50 hints led to %d readings", f.reads)
			}
			f.fail = true
		})
		w.Reread()
		time.Sleep(2 * settle)
		synctest.Wait()
		before := 0
		f.with(func() { f.fail, before = false, f.reads })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		f.with(func() {
			if f.reads == before {
				t.Error("a failed reading is not tried again")
			}
		})
	})
}

func TestGoneInterfaceIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := watch(t)
		time.Sleep(carrierEvery)
		f.with(func() { f.gone = true })
		time.Sleep(10*carrierEvery + settle)
		synctest.Wait()
		f.with(func() {
			if f.reads == 0 {
				t.Error("an interface is gone, and nothing was read")
			}
		})
	})
}
