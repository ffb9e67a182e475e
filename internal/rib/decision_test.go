package rib

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"bothways/internal/route"
)

// TestSteps has one row per numbered step: a wins by exactly that step, though b is better in all that come after it.
func TestSteps(t *testing.T) {
	addr := netip.MustParseAddr
	a := func(change func(*Candidate)) Candidate {
		c := Candidate{
			Params: LinkParams{Path: 1, Order: 1, Preference: 100, RouterID: addr("10.0.0.9"), Neighbor: addr("10.0.0.9")},
			Attrs:  &route.Attrs{Path: route.SequencePath(1, 2, 3), Origin: route.OriginEGP, MED: 10},
		}
		change(&c)
		return c
	}
	rows := []struct {
		step   Step
		better func(*Candidate)
	}{
		{StepPreference, func(c *Candidate) { c.Params.Preference = 150 }},
		{StepPathLength, func(c *Candidate) { c.Attrs.Path = route.SequencePath(1) }},
		{StepOrigin, func(c *Candidate) { c.Attrs.Origin = route.OriginIGP }},
		{StepPathOrder, func(c *Candidate) { c.Params.Path = 0 }},
		{StepMED, func(c *Candidate) { c.Attrs.MED = 5 }},
		{StepLinkOrder, func(c *Candidate) { c.Params.Order = 0 }},
		{StepRouterID, func(c *Candidate) { c.Params.RouterID = addr("10.0.0.1") }},
		{StepAddress, func(c *Candidate) { c.Params.Neighbor = addr("10.0.0.1") }},
	}
	if len(rows) != len(Steps()) {
		t.Fatalf("%d rows for %d steps", len(rows), len(Steps()))
	}
	for i, row := range rows {
		if Steps()[i].Step != row.step || int(row.step) != i+1 {
			t.Fatalf("step %d is %v in the table", i+1, Steps()[i].Step)
		}
		win := a(row.better)
		lose := a(func(c *Candidate) {
			for _, later := range rows[i+1:] {
				later.better(c)
			}
		})
		if c, step := Compare(&win, &lose); c >= 0 || step != row.step {
			t.Errorf("step %d (%s): compare = %d at step %d", row.step, Steps()[i].Name, c, step)
		}
		if c, step := Compare(&lose, &win); c <= 0 || step != row.step {
			t.Errorf("step %d reversed: compare = %d at step %d", row.step, c, step)
		}
		if win.Value(row.step) == lose.Value(row.step) {
			t.Errorf("step %d shows %q for both", row.step, win.Value(row.step))
		}
	}
	// RFC 8326: whatever else it has, a route that is leaving goes behind the others; a static default is of no neighbor.
	leaving := a(func(c *Candidate) {
		c.Params.Preference, c.Attrs.Communities = 1000, []route.Community{1, route.GracefulShutdown}
	})
	worst := a(func(c *Candidate) { c.Params.Preference = 1 })
	if c, step := Compare(&worst, &leaving); c >= 0 || step != StepPreference || leaving.Value(step) != "local preference 0 by graceful shutdown" {
		t.Errorf("a route that is leaving: compare = %d at step %d, %s", c, step, leaving.Value(step))
	}
	same := a(func(*Candidate) {})
	if c, step := Compare(&same, &same); c != 0 || step != 0 {
		t.Errorf("equals: compare = %d at step %d", c, step)
	}
}

func TestResolve(t *testing.T) {
	set := route.NewLinkSet
	r := Ranking{Tiers: [][]route.Link{{1, 2}, {3}}}
	drop := Ranking{Tiers: r.Tiers, Drop: true}
	rows := []struct {
		name          string
		ranking       Ranking
		dead, drained route.LinkSet
		outcome       Outcome
		links         []route.Link
	}{
		{"all live", r, set(), set(), Living, []route.Link{1, 2}},
		{"one of a tier dead", r, set(1), set(), Living, []route.Link{2}},
		{"tier dead", r, set(1, 2), set(), Living, []route.Link{3}},
		{"drained is behind every living tier", r, set(), set(1, 2), Living, []route.Link{3}},
		{"drained before dead", r, set(3), set(1, 2), Drained, []route.Link{1, 2}},
		{"drained, partly dead", r, set(2, 3), set(1), Drained, []route.Link{1}},
		{"nothing lives", r, set(1, 2, 3), set(), NoTarget, []route.Link{1, 2}},
		{"nothing lives, drop", drop, set(1, 2, 3), set(), Dropped, nil},
		{"no tiers", Ranking{}, set(), set(), NoWay, nil},
		{"no tiers, drop", Ranking{Drop: true}, set(), set(), Dropped, nil},
	}
	for _, row := range rows {
		got := Resolve(row.ranking, row.dead, row.drained)
		if got.Outcome != row.outcome || len(got.Links) != len(row.links) {
			t.Errorf("%s: %v %v, want %v %v", row.name, got.Outcome, got.Links, row.outcome, row.links)
			continue
		}
		for i := range got.Links {
			if got.Links[i] != row.links[i] {
				t.Errorf("%s: links %v, want %v", row.name, got.Links, row.links)
			}
		}
	}
}

// TestGradeIsTheDecision: what decides by numbers decides as the table of steps does.
func TestGradeIsTheDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := func() Candidate {
			some := func(what string, list ...uint32) uint32 { return rapid.SampledFrom(list).Draw(t, what) }
			return Candidate{
				Params: LinkParams{
					Path: int(some("path", 0, 1, 300)), Order: int(some("order", 0, 1)), Preference: some("preference", 0, 100, 1<<32-1), Static: some("static", 0, 50),
				},
				Attrs: &route.Attrs{
					Path:   route.SequencePath(make([]uint32, some("length", 0, 1, 255, 256, 3000))...),
					Origin: route.Origin(some("origin", 0, 1, 2)), MED: some("med", 0, 1, 1<<32-1),
					Communities: rapid.SampledFrom([][]route.Community{nil, {route.GracefulShutdown}}).Draw(t, "communities"),
				},
				Static: rapid.Bool().Draw(t, "is static"),
			}
		}
		a, b := some(), some()
		grade := func(c *Candidate) grade { return c.Params.grade(worthOf(c.Attrs), c.Static) }
		order, step := Compare(&a, &b)
		told := order != 0 && step <= Tier
		x, y := grade(&a), grade(&b)
		if told != (x != y) || told && (order < 0) != x.less(y) {
			t.Fatalf("%+v and %+v: %d by step %d, grades %v and %v", a, b, order, step, x, y)
		}
	})
}
