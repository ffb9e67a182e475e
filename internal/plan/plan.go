package plan

import (
	"cmp"
	"slices"

	"bothways/internal/kstate"
)

// Objects is the kernel's state without its routes.
type Objects struct {
	Nexthops []kstate.Nexthop
	Rules    []kstate.Rule
	// First are the groups that should be the first to go with a device, in this order; see Again. The kernel has no such list.
	First []kstate.NexthopID
}

// Steps are the changes from one state to another: Before comes ahead of the routes, After behind them. Unstick takes away what
// leads connections to the links that they stuck to, which wants the groups of Before and nothing else. Where the kernel has lost a
// link's nexthop, its table leads by where each prefix goes without the link, while routes of our own table are lost: there the
// rule goes behind the routes as others do.
type Steps struct {
	Before, Unstick, After []kstate.Change
}

// Empty reports whether nothing is to do.
func (s Steps) Empty() bool { return len(s.Before)+len(s.Unstick)+len(s.After) == 0 }

// Behind is what is left for behind the routes. A rule that was to wait for them may have its nexthop again by then.
func (s Steps) Behind() []kstate.Change { return slices.Concat(s.Unstick, s.After) }

// Diff gives the steps from actual to desired. Diff of equals is empty; each step may be done twice.
func Diff(actual, desired Objects) Steps {
	var s Steps
	have := byID(actual.Nexthops)
	want := byID(desired.Nexthops)
	// Rules come first: the kernel looks up a nexthop's gateway through them, and with a default in our table but no rule
	// for main's specific routes in front of it, a connected gateway would not be found.
	for _, r := range desired.Rules {
		if !slices.Contains(actual.Rules, r) {
			s.Before = append(s.Before, kstate.PutRule(r))
		}
	}
	for _, n := range sorted(desired.Nexthops) {
		if old, ok := have[n.ID]; !ok || !old.Equal(n) {
			if ok && old.Group() != n.Group() {
				s.Before = append(s.Before, kstate.DeleteNexthop(old))
			}
			s.Before = append(s.Before, kstate.PutNexthop(n))
		}
	}
	for _, r := range actual.Rules {
		switch {
		case slices.Contains(desired.Rules, r):
		case r.Sticks() && held(have, r.Nexthop()):
			s.Unstick = append(s.Unstick, kstate.DeleteRule(r))
		default:
			s.After = append(s.After, kstate.DeleteRule(r))
		}
	}
	gone := sorted(actual.Nexthops)
	slices.Reverse(gone)
	for _, n := range gone {
		if _, ok := want[n.ID]; !ok {
			s.After = append(s.After, kstate.DeleteNexthop(n))
		}
	}
	return s
}

func held(have map[kstate.NexthopID]kstate.Nexthop, id kstate.NexthopID) bool {
	_, ok := have[id]
	return ok
}

func byID(list []kstate.Nexthop) map[kstate.NexthopID]kstate.Nexthop {
	m := make(map[kstate.NexthopID]kstate.Nexthop, len(list))
	for _, n := range list {
		m[n.ID] = n
	}
	return m
}

// sorted puts singles before the groups that are built of them.
func sorted(list []kstate.Nexthop) []kstate.Nexthop {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b kstate.Nexthop) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func rank(n kstate.Nexthop) int {
	if n.Group() {
		return 1
	}
	return 0
}
