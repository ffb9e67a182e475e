package plan

import (
	"slices"

	"bothways/internal/kstate"
)

// Again gives the groups of First that have to be written again, as they are, to be the first to go when a device loses its
// carrier. The kernel takes the groups that this leaves empty in the reverse order of their writing, and walks its whole
// table for each: until the turn of a group comes, packets that find it end at the dead device. puts is when each group was
// written last, in any unit; what was never written here comes from before, and counts as in order.
func Again(o Objects, puts map[kstate.NexthopID]uint64) []kstate.Change {
	var out []kstate.Change
	at := func(id kstate.NexthopID) int {
		if i := slices.Index(o.First, id); i >= 0 {
			return i
		}
		return len(o.First)
	}
	again := map[kstate.NexthopID]bool{}
	for i, id := range slices.Backward(o.First) {
		g := slices.IndexFunc(o.Nexthops, func(n kstate.Nexthop) bool { return n.ID == id && n.Group() })
		if g < 0 {
			continue
		}
		before := func(h kstate.Nexthop) bool { // h would go before the group, and should not
			return h.Group() && at(h.ID) > i && meets(h, o.Nexthops[g]) && (again[h.ID] || puts[h.ID] > puts[id])
		}
		if slices.ContainsFunc(o.Nexthops, before) {
			again[id] = true
			out = append(out, kstate.PutNexthop(o.Nexthops[g]))
		}
	}
	return out
}

// meets reports whether two groups have a member in common.
func meets(a, b kstate.Nexthop) bool {
	return slices.ContainsFunc(a.Members, func(x kstate.Member) bool {
		return slices.ContainsFunc(b.Members, func(y kstate.Member) bool { return x.ID == y.ID })
	})
}
