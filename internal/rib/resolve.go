package rib

import "bothways/internal/route"

// Outcome says how a ranking was resolved.
type Outcome uint8

// Outcomes.
const (
	Living   Outcome = iota // a living, undrained link was found
	Drained                 // only drained links live
	NoTarget                // no link lives: the first tier, as if all lived
	Dropped                 // no link lives, and the rule says drop
	NoWay                   // the ranking names no link
)

func (o Outcome) String() string {
	return [...]string{"living", "drained", "no-target", "dropped", "no-way"}[o]
}

// Resolution is what traffic of a ranking does now.
type Resolution struct {
	Outcome Outcome
	Tier    int          // index of the tier in use; -1 where nothing is used
	Links   []route.Link // the links in use, shared equally
}

// Resolve says which links a ranking uses while the links of dead are dead and those of drained are drained: the living
// links of the first tier that has one, undrained before drained. Without a living link it is the first tier as if all
// lived: never act without a better target.
func Resolve(r Ranking, dead, drained route.LinkSet) Resolution {
	if len(r.Tiers) == 0 {
		if r.Drop {
			return Resolution{Outcome: Dropped, Tier: -1}
		}
		return Resolution{Outcome: NoWay, Tier: -1}
	}
	if res, ok := firstWithout(r, dead.Union(drained), Living); ok {
		return res
	}
	if res, ok := firstWithout(r, dead, Drained); ok {
		return res
	}
	if r.Drop {
		return Resolution{Outcome: Dropped, Tier: -1}
	}
	return Resolution{Outcome: NoTarget, Tier: 0, Links: r.Tiers[0]}
}

func firstWithout(r Ranking, out route.LinkSet, o Outcome) (Resolution, bool) {
	for i, t := range r.Tiers {
		if links := without(t, out); len(links) > 0 {
			return Resolution{Outcome: o, Tier: i, Links: links}, true
		}
	}
	return Resolution{}, false
}
