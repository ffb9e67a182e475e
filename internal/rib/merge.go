package rib

import (
	"slices"

	"bothways/internal/route"
)

// mergedFill is how full leaves are that a merge makes: what comes later finds room.
const mergedFill = leafSize - leafSize/8

// feed is what is left of a sorted stage in a merge.
type feed struct {
	link  route.Link
	stage *stage
	at    uint32
	rank  uint64 // of what is next
	key   key
}

// next goes on to the next prefix, to what was said of it last; false: there is none.
func (f *feed) next(t *Table) bool {
	for s := f.stage; f.at < s.said.n; f.at++ {
		f.rank, f.key = s.said.at(f.at).rank, s.key(t.family, f.at)
		if !s.again(t.family, f.at, f.key) {
			return true
		}
		t.drop(s.said.at(f.at).set)
	}
	return false
}

// feeds are those that have something left.
type feeds []feed

func (fs feeds) left() feeds {
	return slices.DeleteFunc(fs, func(f feed) bool { return f.at == f.stage.said.n })
}

func (fs feeds) first() *feed {
	first := &fs[0]
	for i := 1; i < len(fs); i++ {
		if fs[i].key.before(first.key) {
			first = &fs[i]
		}
	}
	return first
}

// announces reports whether one of them announces a prefix, and does not only withdraw it.
func (fs feeds) announces(k key) bool {
	for i := range fs {
		if f := &fs[i]; f.key == k && !f.stage.said.at(f.at).gone {
			return true
		}
	}
	return false
}

// merge takes sorted stages into the index, in one walk over all of them. Where each is not nil, nothing may be dirty before;
// then every prefix is decided as the walk passes, while what is known of it is at hand, and nothing is left for Commit
// but clear.
func (t *Table) merge(fs feeds, each func(Change)) {
	x := &t.index
	more := 0
	for i := range fs {
		more = max(more, int(fs[i].stage.said.n))
	}
	var b builder
	b.tops = make([]uint64, 0, (x.size+more)/mergedFill+1)
	b.leaves = make([]*leaf, 0, cap(b.tops))
	for i := range fs {
		fs[i].next(t)
	}
	fs = fs.left()
	var open covers
	at := position{0, -1}
	have := x.next(&at)
	for have || len(fs) > 0 {
		t.step()
		var k key
		var rank uint64
		var slot uint32
		said := false
		if len(fs) > 0 {
			f := fs.first()
			k, rank, said = f.key, f.rank, true
		}
		if have {
			if here := x.keyAt(at); !said || !k.before(here) {
				said = said && k == here
				k, rank, slot = here, x.leaves[at.leaf].rank[at.i], x.leaves[at.leaf].slot[at.i]
				have = x.next(&at)
			}
		}
		fresh := slot == 0 && fs.announces(k)
		if fresh {
			slot = t.newSlot()
			x.size++
		}
		if slot != 0 {
			up := open.enter(k, slot, fresh)
			switch d := x.dests.at(slot); {
			case fresh:
				*d = dest{rank: rank, parent: up.slot}
				if t.family == route.IPv6 {
					*x.lows.at(slot) = low{k.lo, k.bits}
				}
				fallthrough
			case up.fresh: // it has come between the prefix and what covered it
				d.parent = up.slot
				if up.slot != 0 {
					x.dests.at(up.slot).covers = true
				}
			}
			b.add(rank, slot)
		}
		if said {
			fs = t.sayAll(fs, k, slot)
		}
		if slot != 0 && each != nil {
			t.settle(slot, &open, each)
		}
	}
	if len(b.leaves) > 0 {
		x.tops, x.leaves = b.tops, b.leaves
	}
}

// sayAll makes true what all feeds say of a prefix, and goes on behind it. Without a slot it is nothing but withdrawals.
func (t *Table) sayAll(fs feeds, k key, slot uint32) feeds {
	ended := false
	for i := range fs {
		f := &fs[i]
		if f.key != k {
			continue
		}
		if slot != 0 {
			t.say(f.link, slot, f.stage.said.at(f.at))
		}
		f.at++
		ended = !f.next(t) || ended
	}
	if ended {
		fs = fs.left()
	}
	return fs
}

// settle decides a prefix that a merge passes. What covers it has been decided.
func (t *Table) settle(slot uint32, open *covers, each func(Change)) {
	d := t.index.dests.at(slot)
	old := d.state()
	if d.dirty {
		d.own = t.decide(slot)
	}
	here := &(*open)[len(*open)-1]
	cover := RankingID(0)
	if n := len(*open); n > 1 {
		cover = (*open)[n-2].hands
	}
	here.hands = cover
	if d.routes != 0 {
		d.cover, d.ranking = cover, t.rankings.Join(d.own, cover)
		here.hands = d.ranking
	} else {
		d.cover, d.ranking = 0, 0
	}
	if now := d.state(); now != old {
		each(Change{Prefix: t.index.prefix(slot), Old: old, New: now})
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
		// Its memory is written before it is read: the other way round costs the kernel a second fault.
		l := &leaf{n: 1}
		l.rank[0], l.slot[0] = rank, slot
		b.leaves, b.tops = append(b.leaves, l), append(b.tops, rank)
		return
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
	// hands is the ranking that it hands to what it covers, as effective has it.
	hands RankingID
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
	*c = append(*c, cover{key: k, slot: slot, fresh: fresh})
	return up
}
