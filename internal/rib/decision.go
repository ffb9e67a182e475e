package rib

import (
	"cmp"
	"fmt"
	"net/netip"

	"bothways/internal/route"
)

// LinkParams are what the decision needs to know of a link.
type LinkParams struct {
	Path       int    // order of the link's path in the configuration
	Order      int    // order of the link inside its path
	Preference uint32 // local preference of what it learns
	Static     uint32 // local preference of its static default
	RouterID   netip.Addr
	Neighbor   netip.Addr
}

// Candidate is a usable route for a prefix.
type Candidate struct {
	Link   route.Link
	Params LinkParams
	Attrs  *route.Attrs
	Static bool
}

func (c *Candidate) preference() uint32 { return c.Params.preference(c.Static, c.leaving()) }

// leaving reports whether the neighbor is about to take the route away: it goes behind every other, so that traffic is gone before
// (RFC 8326, section 4.3).
func (c *Candidate) leaving() bool { return c.Attrs.HasCommunity(route.GracefulShutdown) }

func (p *LinkParams) preference(static, leaving bool) uint32 {
	switch {
	case static:
		return p.Static
	case leaving:
		return 0
	}
	return p.Preference
}

// Step is the number of a decision step. 0 means that nothing told the two apart.
type Step int

// The steps, best first. Up to Tier two candidates of one path that are equal share a tier.
const (
	StepPreference Step = 1 + iota
	StepPathLength
	StepOrigin
	StepPathOrder
	StepMED
	StepLinkOrder
	StepRouterID
	StepAddress
)

// Tier is the last step that tells tiers apart: what is equal up to it is used side by side (ECMP).
const Tier = StepMED

// DecisionStep is a row of the decision.
type DecisionStep struct {
	Step    Step
	Name    string
	compare func(a, b *Candidate) int // negative: a is better
	format  func(c *Candidate) string
}

// Steps is the decision: one table that best path, explanation, tests and manual read. MED is compared only after the
// order of paths, so only inside one path: comparing it between some candidates and not between others is what makes
// RFC 4271's own order depend on who else takes part.
func Steps() []DecisionStep { return steps[:] }

var steps = [...]DecisionStep{
	{StepPreference, "local preference, higher",
		func(a, b *Candidate) int { return cmp.Compare(b.preference(), a.preference()) },
		func(c *Candidate) string {
			if !c.Static && c.leaving() {
				return "local preference 0 by graceful shutdown"
			}
			return fmt.Sprintf("local preference %d", c.preference())
		}},
	{StepPathLength, "AS path length, shorter",
		func(a, b *Candidate) int { return cmp.Compare(a.Attrs.Path.Len(), b.Attrs.Path.Len()) },
		func(c *Candidate) string { return fmt.Sprintf("AS path length %d", c.Attrs.Path.Len()) }},
	{StepOrigin, "origin, lower",
		func(a, b *Candidate) int { return cmp.Compare(a.Attrs.Origin, b.Attrs.Origin) },
		func(c *Candidate) string { return fmt.Sprintf("origin %s", c.Attrs.Origin) }},
	{StepPathOrder, "order of paths in the configuration",
		func(a, b *Candidate) int { return cmp.Compare(a.Params.Path, b.Params.Path) },
		func(c *Candidate) string { return fmt.Sprintf("path number %d", c.Params.Path+1) }},
	{StepMED, "MED inside one path, lower",
		func(a, b *Candidate) int { return cmp.Compare(a.Attrs.MED, b.Attrs.MED) },
		func(c *Candidate) string { return fmt.Sprintf("MED %d", c.Attrs.MED) }},
	{StepLinkOrder, "order of links inside the path",
		func(a, b *Candidate) int { return cmp.Compare(a.Params.Order, b.Params.Order) },
		func(c *Candidate) string { return fmt.Sprintf("link number %d", c.Params.Order+1) }},
	{StepRouterID, "router id, lower",
		func(a, b *Candidate) int { return a.Params.RouterID.Compare(b.Params.RouterID) },
		func(c *Candidate) string { return fmt.Sprintf("router id %s", c.Params.RouterID) }},
	{StepAddress, "neighbor's address, lower",
		func(a, b *Candidate) int { return a.Params.Neighbor.Compare(b.Params.Neighbor) },
		func(c *Candidate) string { return fmt.Sprintf("neighbor %s", c.Params.Neighbor) }},
}

// Compare orders two candidates for one prefix: negative where a is better, with the step that decided.
func Compare(a, b *Candidate) (int, Step) {
	for i := range steps {
		if c := steps[i].compare(a, b); c != 0 {
			return c, steps[i].Step
		}
	}
	return 0, 0
}

// grade is a candidate's place in the steps up to Tier as numbers, smaller before larger: Compare tells two candidates apart
// there just where their grades differ, and in the same way.
type grade struct{ first, second uint64 }

func (g grade) less(o grade) bool {
	return g.first < o.first || g.first == o.first && g.second < o.second
}

// worth is what attributes add to a grade: AS path length and origin, which an UPDATE bounds far below 23 and at 8 bits, and MED. The
// highest bit of shape says that the route is leaving.
type worth struct{ shape, med uint32 }

const leavingBit = 1 << 31

func worthOf(a *route.Attrs) worth {
	w := worth{uint32(a.Path.Len())<<8 | uint32(uint8(a.Origin)), a.MED}
	if a.HasCommunity(route.GracefulShutdown) {
		w.shape |= leavingBit
	}
	return w
}

func (p *LinkParams) grade(w worth, static bool) grade {
	preference := p.preference(static, w.shape&leavingBit != 0)
	return grade{uint64(^preference)<<32 | uint64(w.shape&^leavingBit), uint64(uint32(p.Path))<<32 | uint64(w.med)}
}

// Value says what a candidate has to show at a step, for people.
func (c *Candidate) Value(s Step) string {
	if s < 1 || int(s) > len(steps) {
		return "equal"
	}
	return steps[s-1].format(c)
}

// sortCandidates orders a handful in place, best first.
func sortCandidates(cs []Candidate) {
	for i := 1; i < len(cs); i++ {
		for j := i; j > 0; j-- {
			if c, _ := Compare(&cs[j], &cs[j-1]); c >= 0 {
				break
			}
			cs[j], cs[j-1] = cs[j-1], cs[j]
		}
	}
}
