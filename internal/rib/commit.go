package rib

import (
	"net/netip"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// State is what was decided for a prefix. Own is the ranking of its own candidates, Cover that of the longest prefix
// that covers it, Ranking the two joined.
type State struct {
	Own, Cover, Ranking RankingID
}

// Change is a prefix whose state changed in a Commit. A prefix that is new or gone has a zero state on that side; an
// Own of 0 decides nothing by itself.
type Change struct {
	Prefix   netip.Prefix
	Old, New State
}

type touch struct {
	slot uint32
	old  State
}

func (d *dest) state() State { return State{d.own, d.cover, d.ranking} }

// Commit decides again what is dirty and what is covered by it, and calls each for every prefix whose state changed, in
// no particular order. Work is proportional to what is dirty and to what lies inside prefixes whose ranking changed.
func (t *Table) Commit(each func(Change)) {
	if t.dirty.n == 0 {
		return
	}
	for slot := range t.dirty.all() {
		t.step()
		t.touch(*slot)
		t.index.dests.at(*slot).own = t.decide(*slot)
	}
	if int(t.dirty.n) > t.index.size/4 {
		for slot := range t.index.all() {
			t.step()
			t.place(slot)
		}
	} else {
		for slot := range t.dirty.all() {
			t.step()
			t.walk(*slot)
		}
	}
	for c := range t.touched.all() {
		t.step()
		d := t.index.dests.at(c.slot)
		d.touched = false
		if now := d.state(); now != c.old {
			each(Change{Prefix: t.index.prefix(c.slot), Old: c.old, New: now})
		}
	}
	t.touched.empty(keptScratch)
	t.clear()
}

// clear takes out the prefixes without a route that a commit leaves, and ends it.
func (t *Table) clear() {
	for slot := range t.dirty.all() {
		t.step()
		d := t.index.dests.at(*slot)
		d.dirty, d.walked = false, false
		if d.routes == 0 {
			t.index.remove(*slot)
			*d = dest{}
			t.free = append(t.free, *slot)
		}
	}
	t.dirty.empty(keptScratch)
}

// keptScratch is how many elements of a commit's lists are kept for the next: a burst of a session's, not a whole table.
const keptScratch = 1 << 16

func (t *Table) touch(slot uint32) {
	d := t.index.dests.at(slot)
	if !d.touched {
		d.touched = true
		*t.touched.at(t.touched.add()) = touch{slot, d.state()}
	}
}

// place sets what follows from own and cover. The places of what covers it must be set.
func (t *Table) place(slot uint32) {
	d := t.index.dests.at(slot)
	var cover, ranking RankingID
	if d.routes != 0 {
		cover = t.coverOf(slot)
		ranking = t.rankings.Join(d.own, cover)
	}
	if d.cover != cover || d.ranking != ranking {
		t.touch(slot)
		d.cover, d.ranking = cover, ranking
	}
	d.walked = d.dirty
}

// effective is the ranking that a prefix hands to what it covers; one that is going away is transparent.
func (t *Table) effective(slot uint32) RankingID {
	for ; slot != 0; slot = t.index.parent(slot) {
		if d := t.index.dests.at(slot); d.routes != 0 {
			return d.ranking
		}
	}
	return 0
}

// coverOf is the ranking of the longest prefix that covers a slot's and stays.
func (t *Table) coverOf(slot uint32) RankingID { return t.effective(t.index.parent(slot)) }

// walk places a prefix and, where its ranking changed, all that lies inside it. What covers it and is dirty goes first.
func (t *Table) walk(slot uint32) {
	for d := t.index.dests.at(slot); !d.walked; {
		t.walkOne(t.highest(slot))
	}
}

// highest is the shortest dirty prefix without a place that covers a slot's, or the slot itself.
func (t *Table) highest(slot uint32) uint32 {
	top := slot
	for up := t.index.parent(slot); up != 0; up = t.index.parent(up) {
		if d := t.index.dests.at(up); d.dirty && !d.walked {
			top = up
		}
	}
	return top
}

func (t *Table) walkOne(slot uint32) {
	// What lies inside saw this prefix's ranking, or, where the prefix is new, that of the cover. The cover's did not
	// change in this commit: otherwise this prefix would have been placed with it.
	before := t.index.dests.at(slot).ranking
	if before == 0 {
		before = t.coverOf(slot)
	}
	t.place(slot)
	if !t.index.dests.at(slot).covers || before == t.effective(slot) {
		return
	}
	for inner := range t.index.inside(t.index.key(slot)) {
		if inner != slot {
			t.place(inner)
		}
	}
}

// decide interns the tiers of a prefix's own candidates.
func (t *Table) decide(slot uint32) RankingID {
	if i := t.index.dests.at(slot).routes; i != 0 {
		// Most prefixes of a site with one full table have one route.
		if e := t.routes.at(i); e.next == 0 && e.reason == policy.Accepted {
			return t.only(e.link)
		}
	}
	gs := t.graded[:0]
	for i := t.index.dests.at(slot).routes; i != 0; {
		e := t.routes.at(i)
		i = e.next
		if e.reason != policy.Accepted {
			continue
		}
		g := graded{t.links[e.link].grade(t.worths[e.set], e.set == 0), e.link}
		at := len(gs)
		for gs = append(gs, g); at > 0 && g.less(gs[at-1].grade); at-- {
			gs[at] = gs[at-1]
		}
		gs[at] = g
	}
	t.graded = gs
	if len(gs) == 0 {
		return 0
	}
	key, n := t.key[:0], 0
	for i := range gs {
		if i > 0 && gs[i].grade != gs[i-1].grade {
			key, n = endTier(key, n), 0
		}
		key = append(key, byte(gs[i].link))
		n++
	}
	t.key = endTier(key, n)
	return t.rankings.internKey(t.key)
}

// graded is a usable route as decide sees it. Inside a tier there is no order.
type graded struct {
	grade
	link route.Link
}

// only is the ranking of one link alone.
func (t *Table) only(l route.Link) RankingID {
	if t.single[l] == 0 {
		t.single[l] = t.rankings.Intern(Ranking{Tiers: [][]route.Link{{l}}})
	}
	return t.single[l]
}

// candidates collects the usable routes of a prefix, best first. The slice is valid until the next call.
func (t *Table) candidates(slot uint32) []Candidate {
	cs := t.scratch[:0]
	for i := t.index.dests.at(slot).routes; i != 0; {
		e := t.routes.at(i)
		i = e.next
		if e.reason == policy.Accepted {
			cs = append(cs, Candidate{Link: e.link, Params: t.links[e.link], Attrs: t.sets[e.set].attrs, Static: e.set == 0})
		}
	}
	t.scratch = cs
	sortCandidates(cs)
	return cs
}
