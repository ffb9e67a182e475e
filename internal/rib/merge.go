package rib

import (
	"bothways/internal/route"
)

// mergedFill is how full leaves are that a merge makes: what comes later finds room.
const mergedFill = leafSize - leafSize/8

// merge takes a sorted stage of a link into the index, in one walk over both.
func (t *Table) merge(l route.Link, s *stage) {
	x := &t.index
	b := builder{}
	b.tops = make([]uint64, 0, (x.size+int(s.said.n))/mergedFill+1)
	b.leaves = make([]*leaf, 0, cap(b.tops))
	var open covers
	at := position{0, -1}
	have := x.next(&at)
	keep := func() {
		// It keeps its parent unless a new prefix has come between.
		k, slot := x.keyAt(at), x.leaves[at.leaf].slot[at.i]
		if up := open.enter(k, slot, false); up.fresh {
			x.dests.at(slot).parent = up.slot
			x.dests.at(up.slot).covers = true
		}
		b.add(x.leaves[at.leaf].rank[at.i], slot)
		have = x.next(&at)
	}
	for i := range s.said.n {
		said, k := s.said.at(i), s.key(t.family, i)
		if s.again(t.family, i, k) {
			t.drop(said.set)
			continue
		}
		for have && x.keyAt(at).before(k) {
			keep()
		}
		switch {
		case have && x.keyAt(at) == k:
			t.say(l, x.leaves[at.leaf].slot[at.i], said)
		case !said.gone:
			slot := t.newSlot()
			up := open.enter(k, slot, true)
			*x.dests.at(slot) = dest{rank: said.rank, parent: up.slot}
			if t.family == route.IPv6 {
				*x.lows.at(slot) = low{k.lo, k.bits}
			}
			if up.slot != 0 {
				x.dests.at(up.slot).covers = true
			}
			b.add(said.rank, slot)
			x.size++
			t.say(l, slot, said)
		}
	}
	for have {
		keep()
	}
	if len(b.leaves) > 0 {
		x.tops, x.leaves = b.tops, b.leaves
	}
}

// builder makes leaves of what is added in order.
type builder struct {
	tops   []uint64
	leaves []*leaf
}

func (b *builder) add(rank uint64, slot uint32) {
	n := len(b.leaves)
	if n == 0 || b.leaves[n-1].n == mergedFill {
		b.leaves = append(b.leaves, new(leaf))
		b.tops = append(b.tops, rank)
		n++
	}
	l := b.leaves[n-1]
	l.rank[l.n], l.slot[l.n] = rank, slot
	l.n++
}

// covers are the prefixes that cover the one where a walk in order is, the longest last.
type covers []cover

type cover struct {
	key   key
	slot  uint32 // 0: nothing covers
	fresh bool   // the walk brought it in
}

// enter goes on to a prefix and gives what covers it.
func (c *covers) enter(k key, slot uint32, fresh bool) cover {
	for len(*c) > 0 && !(*c)[len(*c)-1].key.contains(k) {
		*c = (*c)[:len(*c)-1]
	}
	var up cover
	if n := len(*c); n > 0 {
		up = (*c)[n-1]
	}
	*c = append(*c, cover{k, slot, fresh})
	return up
}
