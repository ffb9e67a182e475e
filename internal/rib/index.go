package rib

import (
	"iter"
	"net/netip"
	"slices"
	"sort"

	"bothways/internal/route"
)

// leafSize fills an allocation of 1,536 bytes. Larger leaves cost more to insert into, smaller ones more to find.
const leafSize = 127

// index orders the prefixes of a table as route.ComparePrefix does, and knows for each the one that covers it.
//
// It is a sorted list in leaves, beside a list of what each leaf begins with. What covers a prefix comes before it, and
// everything inside it follows directly; so the longest cover of a prefix is the one before it, or that one's cover, and
// so on. That link upwards is kept, so a cover costs no search, and a walk in order meets covers first. Against a trie
// it saves most of the memory (12 bytes a prefix and the gaps in leaves, none of it pointers), and the cache misses of a
// descent.
type index struct {
	family route.Family
	tops   []uint64 // rank of the first of each leaf
	leaves []*leaf
	size   int
	dests  slab[dest]
	lows   slab[low] // IPv6 only, by slot as dests are
}

type leaf struct {
	rank [leafSize]uint64
	slot [leafSize]uint32
	n    int32
}

// dest is a prefix with what was decided for it. Index and table share it, so that a prefix is one half of a cache line.
//
// The rank orders prefixes: in IPv4 it is the whole key, with the length in the last byte; in IPv6 it is the first half
// of the address, and low decides between equals.
type dest struct {
	rank   uint64
	parent uint32 // slot of the longest prefix that covers it; 0: none

	routes              uint32 // head of the chain of its routes
	own, cover, ranking RankingID
	// What holds during a commit, or until the next.
	dirty   bool
	touched bool // the old state is noted
	walked  bool // of a dirty one: it has its place
	// covers: it is, or was, the parent of another. Without this nothing lies inside, and nobody needs to look.
	covers bool
}

type low struct {
	lo   uint64
	bits uint8
}

// position is a place in the order: an entry of a leaf, or before the first where i is -1.
type position struct{ leaf, i int }

func newIndex(f route.Family) index {
	x := index{family: f, tops: []uint64{0}, leaves: []*leaf{new(leaf)}}
	x.add() // slot 0 is no slot
	return x
}

func (x *index) add() uint32 {
	if x.family == route.IPv6 {
		x.lows.add()
	}
	return x.dests.add()
}

func (x *index) rank(k key) uint64 { return rankOf(x.family, k) }

func (x *index) key(slot uint32) key {
	r := x.dests.at(slot).rank
	if x.family == route.IPv4 {
		return keyOfRank(r)
	}
	l := x.lows.at(slot)
	return key{r, l.lo, l.bits}
}

func (x *index) prefix(slot uint32) netip.Prefix { return x.key(slot).prefix(x.family) }

func (x *index) parent(slot uint32) uint32 { return x.dests.at(slot).parent }

// find gives the last entry that is not behind k, and its slot where it is k.
func (x *index) find(k key) (position, uint32, bool) {
	r := x.rank(k)
	at := lastNotAbove(x.tops, r)
	if x.family == route.IPv6 {
		at = x.lastLeaf(at, r, k)
	}
	l := x.leaves[at]
	if l.n == 0 || l.rank[0] > r {
		return position{at, -1}, 0, false
	}
	i := lastNotAbove(l.rank[:l.n], r)
	if x.family == route.IPv6 {
		for i >= 0 && l.rank[i] == r && k.compareLow(x.key(l.slot[i])) < 0 {
			i--
		}
		if i < 0 {
			return position{at, -1}, 0, false
		}
	}
	slot := l.slot[i]
	if l.rank[i] != r || x.family == route.IPv6 && k.compareLow(x.key(slot)) != 0 {
		return position{at, i}, 0, false
	}
	return position{at, i}, slot, true
}

// lastLeaf is the last of the leaves up to at, all of those that begin with rank r among them, whose first entry is not
// behind k. A neighbor may announce any number of prefixes of one rank, so they are not gone through one by one.
func (x *index) lastLeaf(at int, r uint64, k key) int {
	if x.tops[at] != r {
		return at
	}
	first := sort.Search(at, func(i int) bool { return x.tops[i] >= r })
	n := sort.Search(at-first+1, func(i int) bool { return k.compareLow(x.key(x.leaves[first+i].slot[0])) < 0 })
	return max(first+n-1, 0)
}

// lastNotAbove is the index of the last number that is not above r, or 0. It has no branch that depends on the numbers.
func lastNotAbove(list []uint64, r uint64) int {
	at, n := 0, len(list)
	for n > 1 {
		half := n >> 1
		if list[at+half] <= r {
			at += half
		}
		n -= half
	}
	return at
}

// get gives the slot of a prefix.
func (x *index) get(k key) (uint32, bool) {
	_, slot, ok := x.find(k)
	return slot, ok
}

// match gives the slot of the longest prefix that covers k, k itself included.
func (x *index) match(k key) (uint32, bool) {
	at, _, _ := x.find(k)
	slot := x.covering(at, k)
	return slot, slot != 0
}

// covering climbs from the entry at a position to the first that covers k; 0: none does.
func (x *index) covering(at position, k key) uint32 {
	if at.i < 0 {
		return 0
	}
	slot := x.leaves[at.leaf].slot[at.i]
	if x.keyAt(at).contains(k) {
		return slot
	}
	slot = x.parent(slot)
	for slot != 0 && !x.key(slot).contains(k) {
		slot = x.parent(slot)
	}
	return slot
}

// insert puts k, which must not be there, behind the position that find gave for it. slot is one that add gave.
func (x *index) insert(at position, k key, slot uint32) {
	parent, r := x.covering(at, k), x.rank(k)
	*x.dests.at(slot) = dest{rank: r, parent: parent}
	if x.family == route.IPv6 {
		*x.lows.at(slot) = low{k.lo, k.bits}
	}
	at = x.put(at, r, slot)
	x.size++
	if parent != 0 {
		x.dests.at(parent).covers = true
	}
	for x.next(&at) && k.contains(x.keyAt(at)) {
		if p := x.dests.at(x.leaves[at.leaf].slot[at.i]); p.parent == parent {
			p.parent = slot
			x.dests.at(slot).covers = true
		}
	}
}

// next moves to the next entry; false: there is none.
func (x *index) next(at *position) bool {
	at.i++
	for at.i >= int(x.leaves[at.leaf].n) {
		if at.leaf+1 == len(x.leaves) {
			return false
		}
		at.leaf, at.i = at.leaf+1, 0
	}
	return true
}

// keyAt is the key of an entry; in IPv4 the leaf itself has it.
func (x *index) keyAt(at position) key {
	l := x.leaves[at.leaf]
	if x.family == route.IPv4 {
		return keyOfRank(l.rank[at.i])
	}
	return x.key(l.slot[at.i])
}

// put makes room behind a position, and gives the position of the new entry.
func (x *index) put(at position, r uint64, slot uint32) position {
	l := x.leaves[at.leaf]
	if l.n == leafSize {
		half := &leaf{n: leafSize - leafSize/2}
		copy(half.rank[:], l.rank[leafSize/2:])
		copy(half.slot[:], l.slot[leafSize/2:])
		l.n = leafSize / 2
		x.tops = slices.Insert(x.tops, at.leaf+1, half.rank[0])
		x.leaves = slices.Insert(x.leaves, at.leaf+1, half)
		if at.i >= leafSize/2 {
			at = position{at.leaf + 1, at.i - leafSize/2}
			l = half
		}
	}
	at.i++
	i := at.i
	copy(l.rank[i+1:l.n+1], l.rank[i:l.n])
	copy(l.slot[i+1:l.n+1], l.slot[i:l.n])
	l.rank[i], l.slot[i] = r, slot
	l.n++
	if i == 0 {
		x.tops[at.leaf] = r
	}
	return at
}

// remove takes a slot's prefix out; the slot may be used again.
func (x *index) remove(slot uint32) {
	k, parent := x.key(slot), x.parent(slot)
	at, _, _ := x.find(k)
	for inner := at; x.dests.at(slot).covers && x.next(&inner) && k.contains(x.keyAt(inner)); {
		if p := x.dests.at(x.leaves[inner.leaf].slot[inner.i]); p.parent == slot {
			p.parent = parent
		}
	}
	l := x.leaves[at.leaf]
	copy(l.rank[at.i:], l.rank[at.i+1:l.n])
	copy(l.slot[at.i:], l.slot[at.i+1:l.n])
	l.n--
	x.size--
	if l.n > 0 && at.i == 0 {
		x.tops[at.leaf] = l.rank[0]
	}
	x.merge(at.leaf)
}

// merge joins a leaf that has become small with the one behind it, where there is room.
func (x *index) merge(at int) {
	l := x.leaves[at]
	if l.n > leafSize/4 || len(x.leaves) == 1 {
		return
	}
	if at+1 == len(x.leaves) {
		at--
		l = x.leaves[at]
	}
	next := x.leaves[at+1]
	// An empty leaf has no place in the list, whatever is behind it: there is always room for nothing.
	if l.n > 0 && next.n > 0 && l.n+next.n > leafSize/4*3 {
		return
	}
	copy(l.rank[l.n:], next.rank[:next.n])
	copy(l.slot[l.n:], next.slot[:next.n])
	l.n += next.n
	if l.n > 0 {
		x.tops[at] = l.rank[0]
	}
	x.tops = slices.Delete(x.tops, at+1, at+2)
	x.leaves = slices.Delete(x.leaves, at+1, at+2)
}

// all walks the slots in order. The index must not change meanwhile.
func (x *index) all() iter.Seq[uint32] { return x.from(position{0, -1}) }

// from walks the slots behind a position.
func (x *index) from(at position) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for x.next(&at) && yield(x.leaves[at.leaf].slot[at.i]) {
		}
	}
}

// inside walks what lies in k, and k itself where it is there, in order.
func (x *index) inside(k key) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		at, _, found := x.find(k)
		if found {
			at.i--
		}
		for x.next(&at) && k.contains(x.keyAt(at)) && yield(x.leaves[at.leaf].slot[at.i]) {
		}
	}
}
