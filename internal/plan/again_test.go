package plan

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bothways/internal/kstate"
)

func ids(changes []kstate.Change) (out []int) {
	for _, c := range changes {
		out = append(out, int(c.Nexthop.ID-kstate.GroupFirst))
	}
	return out
}

func TestAgain(t *testing.T) {
	at := func(list ...uint64) map[kstate.NexthopID]uint64 { // of groups 1, 2 …
		m := map[kstate.NexthopID]uint64{}
		for i, n := range list {
			m[kstate.GroupFirst+kstate.NexthopID(i+1)] = n
		}
		return m
	}
	all := []kstate.Nexthop{single(1, 1), single(2, 2), group(1, 1), group(2, 1), group(3, 1), group(4, 2)}
	first := func(list ...int) (out []kstate.NexthopID) {
		for _, n := range list {
			out = append(out, kstate.GroupFirst+kstate.NexthopID(n))
		}
		return out
	}
	for _, c := range []struct {
		name  string
		first []kstate.NexthopID
		puts  map[kstate.NexthopID]uint64
		want  []int
	}{
		{"nothing is known to be out of order", first(1, 2), nil, nil},
		{"in order: the last one written goes first", first(1, 2), at(3, 2, 1), nil},
		{"a third was written behind both", first(1, 2), at(2, 1, 3), []int{2, 1}},
		{"the two are the wrong way round", first(1, 2), at(1, 3, 2), []int{1}},
		{"what shares no member does not matter", first(1, 2), at(3, 2, 1, 9), nil},
		{"one that is not there", first(9, 1), at(1, 2, 2), []int{1}},
	} {
		if got := ids(Again(Objects{Nexthops: all, First: c.first}, c.puts)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestAgainIsEnough holds that after writing what it says nothing is out of order, whatever was.
func TestAgainIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o Objects
		puts := map[kstate.NexthopID]uint64{}
		var all []int
		for i := range 6 {
			g := group(i, rapid.IntRange(0, 2).Draw(t, "member"), rapid.IntRange(3, 5).Draw(t, "other"))
			o.Nexthops = append(o.Nexthops, g)
			all = append(all, i)
			puts[g.ID] = uint64(rapid.IntRange(0, 4).Draw(t, "put"))
		}
		for _, i := range rapid.Permutation(all).Draw(t, "first")[:rapid.IntRange(0, 4).Draw(t, "n")] {
			o.First = append(o.First, kstate.GroupFirst+kstate.NexthopID(i))
		}
		clock := uint64(10)
		for _, c := range Again(o, puts) {
			clock++
			puts[c.Nexthop.ID] = clock
		}
		if rest := Again(o, puts); len(rest) != 0 {
			t.Fatalf("still %v", rest)
		}
	})
}
