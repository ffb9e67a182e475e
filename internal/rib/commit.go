package rib

import (
	"net/netip"
	"slices"

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
	if len(t.dirty) == 0 {
		return
	}
	t.commit++
	t.touched = t.touched[:0]
	for _, slot := range t.dirty {
		t.touch(slot)
		t.dests[slot].own = t.decide(slot)
	}
	if len(t.dirty) > len(t.dests)/4 {
		t.walkAll()
	} else {
		slices.SortFunc(t.dirty, func(a, b uint32) int {
			return t.dests[a].prefix.Bits() - t.dests[b].prefix.Bits()
		})
		for _, slot := range t.dirty {
			t.walk(slot)
		}
	}
	for _, c := range t.touched {
		d := &t.dests[c.slot]
		if now := d.state(); now != c.old {
			each(Change{Prefix: d.prefix, Old: c.old, New: now})
		}
	}
	for _, slot := range t.dirty {
		d := &t.dests[slot]
		d.dirty = false
		if d.routes == 0 {
			t.index.Delete(d.prefix)
			*d = dest{}
			t.free = append(t.free, slot)
		}
	}
	t.dirty = t.dirty[:0]
}

func (t *Table) touch(slot uint32) {
	d := &t.dests[slot]
	if d.touched != t.commit {
		d.touched = t.commit
		t.touched = append(t.touched, touch{slot, d.state()})
	}
}

// place sets what follows from own and cover.
func (t *Table) place(slot uint32, cover RankingID) {
	d := &t.dests[slot]
	ranking := t.rankings.Join(d.own, cover)
	if d.routes == 0 {
		cover, ranking = 0, 0
	}
	if d.cover != cover || d.ranking != ranking {
		t.touch(slot)
		d = &t.dests[slot]
		d.cover, d.ranking = cover, ranking
	}
	d.walked = t.commit
}

// effective is the ranking that a prefix hands to what it covers; one that is going away is transparent.
func (t *Table) effective(slot uint32, cover RankingID) RankingID {
	if d := &t.dests[slot]; d.routes != 0 {
		return d.ranking
	}
	return cover
}

// walk places a prefix and, where its ranking changed, all that lies inside it.
func (t *Table) walk(slot uint32) {
	d := &t.dests[slot]
	if d.walked == t.commit {
		return
	}
	cover := t.coverOf(d.prefix)
	// What lies inside saw this prefix's ranking, or, where the prefix is new, that of the cover. The cover's did not
	// change in this commit: otherwise this prefix would have been walked with it.
	before := d.ranking
	if before == 0 {
		before = cover
	}
	t.place(slot, cover)
	if before != t.effective(slot, cover) {
		t.walkInside(d.prefix, slot, cover)
	}
}

// walkInside places everything inside p, whose own place is set, in one ordered pass with a stack of covers.
func (t *Table) walkInside(p netip.Prefix, top uint32, cover RankingID) {
	stack := []frame{{p, t.effective(top, cover)}}
	for q, slot := range t.index.Subnets(p) {
		if slot == top {
			continue
		}
		stack = t.push(stack, q, slot)
	}
}

func (t *Table) walkAll() {
	var stack []frame
	for q, slot := range t.index.AllSorted() {
		stack = t.push(stack, q, slot)
	}
}

type frame struct {
	prefix  netip.Prefix
	ranking RankingID
}

func (t *Table) push(stack []frame, q netip.Prefix, slot uint32) []frame {
	for len(stack) > 0 && !route.Contains(stack[len(stack)-1].prefix, q) {
		stack = stack[:len(stack)-1]
	}
	var cover RankingID
	if len(stack) > 0 {
		cover = stack[len(stack)-1].ranking
	}
	t.place(slot, cover)
	return append(stack, frame{q, t.effective(slot, cover)})
}

// coverOf returns the ranking of the longest prefix that covers p and is not p. What goes away in this commit is
// transparent, and has been placed before p since it is shorter.
func (t *Table) coverOf(p netip.Prefix) RankingID {
	for p.Bits() > 0 {
		q, slot, ok := t.index.LookupPrefixLPM(netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked())
		if !ok {
			return 0
		}
		if t.dests[slot].routes != 0 {
			return t.dests[slot].ranking
		}
		p = q
	}
	return 0
}

// decide interns the tiers of a prefix's own candidates.
func (t *Table) decide(slot uint32) RankingID {
	cs := t.candidates(slot)
	if len(cs) == 0 {
		return 0
	}
	key, n := t.key[:0], 0
	for i := range cs {
		if i > 0 {
			if _, step := Compare(&cs[i-1], &cs[i]); step <= Tier {
				key, n = endTier(key, n), 0
			}
		}
		key = append(key, byte(cs[i].Link))
		n++
	}
	t.key = endTier(key, n)
	return t.rankings.internKey(t.key)
}

// candidates collects the usable routes of a prefix, best first. The slice is valid until the next call.
func (t *Table) candidates(slot uint32) []Candidate {
	cs := t.scratch[:0]
	for i := t.dests[slot].routes; i != 0; i = t.routes[i].next {
		if e := &t.routes[i]; e.reason == policy.Accepted {
			cs = append(cs, Candidate{Link: e.link, Params: t.links[e.link], Attrs: t.sets[e.set].attrs, Static: e.set == 0})
		}
	}
	t.scratch = cs
	sortCandidates(cs)
	return cs
}
