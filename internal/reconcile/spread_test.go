package reconcile

import (
	"slices"
	"testing"
)

// TestSpread: nothing is lost, and of any beginning every region has its share.
func TestSpread(t *testing.T) {
	for _, n := range []int{0, 1, 100, spreadFrom, 10_007, 300_000} {
		list := make([]int, n)
		for i := range list {
			list[i] = i
		}
		spread(list)
		if n >= spreadFrom {
			var regions [8]int
			for _, x := range list[:n/8] {
				regions[x*8/n]++
			}
			if least, most := slices.Min(regions[:]), slices.Max(regions[:]); most-least > most/10 {
				t.Errorf("%d: of the first eighth the regions have %v", n, regions)
			}
		}
		slices.Sort(list)
		for i, x := range list {
			if x != i {
				t.Fatalf("%d: place %d has %d", n, i, x)
			}
		}
	}
}
