package rib

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"bothways/internal/route"
)

// someFew draws prefixes that cover each other often and, in IPv6, often differ in their second half or length alone.
func someFew(random *rand.Rand, f route.Family) netip.Prefix {
	var a [16]byte
	for _, i := range []int{0, 1, 2, 3, 7, 8, 9, 15} {
		a[i] = byte(random.IntN(3)) << 6
	}
	a[2] = byte(random.IntN(256))
	if f == route.IPv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(a[:4])), random.IntN(33)).Masked()
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), random.IntN(129)).Masked()
}

// TestIndexIsWhatASortedListWouldBe compares the index, while it grows through many leaves and shrinks again, with a
// set of prefixes searched from scratch.
func TestIndexIsWhatASortedListWouldBe(t *testing.T) {
	for _, f := range route.Families() {
		t.Run(f.String(), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(f)))
			x := newIndex(f)
			slots, free := map[netip.Prefix]uint32{}, []uint32{}
			change := func(p netip.Prefix, add bool) {
				at, slot, found := x.find(keyOf(p))
				if want, ok := slots[p]; found != ok || found && slot != want {
					t.Fatalf("find %s: slot %d %v, want %d %v", p, slot, found, want, ok)
				}
				switch {
				case found && !add:
					x.remove(slot)
					delete(slots, p)
					free = append(free, slot)
				case !found && add:
					if n := len(free); n > 0 {
						slot, free = free[n-1], free[:n-1]
					} else {
						slot = x.add()
					}
					x.insert(at, keyOf(p), slot)
					slots[p] = slot
				}
			}
			for phase, share := range []float64{0.95, 0.5, 0.02} { // of additions: grow, change, shrink
				for range 6000 {
					change(someFew(random, f), random.Float64() < share)
				}
				compareIndex(t, &x, f, slots, random)
				if phase == 0 && len(x.leaves) < 10 {
					t.Fatalf("only %d leaves", len(x.leaves))
				}
			}
			for p := range slots {
				change(p, false)
			}
			compareIndex(t, &x, f, slots, random)
			if len(x.leaves) != 1 {
				t.Errorf("%d leaves hold nothing", len(x.leaves))
			}
		})
	}
}

func compareIndex(t *testing.T, x *index, f route.Family, slots map[netip.Prefix]uint32, random *rand.Rand) {
	t.Helper()
	var want []netip.Prefix
	for p := range slots {
		want = append(want, p)
	}
	slices.SortFunc(want, route.ComparePrefix)
	var got []netip.Prefix
	for slot := range x.all() {
		got = append(got, x.prefix(slot))
	}
	if !slices.Equal(got, want) || x.size != len(want) {
		t.Fatalf("%d prefixes (size %d), want %d: %v", len(got), x.size, len(want), got)
	}
	longest := func(inner netip.Prefix, strict bool) uint32 {
		best, bits := uint32(0), -1
		for p, slot := range slots {
			if route.Contains(p, inner) && p.Bits() > bits && !(strict && p == inner) {
				best, bits = slot, p.Bits()
			}
		}
		return best
	}
	for range 300 {
		p := someFew(random, f)
		if got, _ := x.match(keyOf(p)); got != longest(p, false) {
			t.Fatalf("match %s: slot %d, want %d", p, got, longest(p, false))
		}
		var in []netip.Prefix
		for slot := range x.inside(keyOf(p)) {
			in = append(in, x.prefix(slot))
		}
		wantIn := slices.DeleteFunc(slices.Clone(want), func(q netip.Prefix) bool { return !route.Contains(p, q) })
		if !slices.Equal(in, wantIn) {
			t.Fatalf("inside %s: %v, want %v", p, in, wantIn)
		}
		if len(want) > 0 {
			q := want[random.IntN(len(want))]
			if up := x.parent(slots[q]); up != 0 && !x.dests.at(up).covers {
				t.Fatalf("%s is said to cover nothing, but covers %s", x.prefix(up), q)
			}
			if got := x.parent(slots[q]); got != longest(q, true) {
				t.Fatalf("parent of %s: slot %d, want %d", q, got, longest(q, true))
			}
		}
	}
}
