package linkwatch

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func (f *fake) Lookup(netip.Addr) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leaves, nil
}

func (s sink) Pinned(a netip.Addr, index int) {
	s.with(func() { s.pins = append(s.pins, fmt.Sprintf("%s by %d", a, index)) })
}

func TestPinsAreLookedUpAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := watch(t)
		w.Pin([]netip.Addr{netip.MustParseAddr("20.36.1.7")})
		for _, index := range []int{3, 3, 9, 3} {
			f.with(func() { f.leaves = index })
			time.Sleep(pinEvery)
			synctest.Wait()
		}
		f.with(func() {
			if want := []string{"20.36.1.7 by 3", "20.36.1.7 by 9", "20.36.1.7 by 3"}; !slices.Equal(f.pins, want) {
				t.Errorf("told %q, want %q", f.pins, want)
			}
		})
	})
}
