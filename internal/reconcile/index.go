package reconcile

import (
	"math/bits"
	"math/rand/v2"
)

// index finds the place of a route by its key, in open addressing with linear probing. It holds places alone: the keys lie at them.
// Prefixes of one length that follow each other have homes that do, so that a table that comes in order costs few cache misses.
// It is in parts that grow by themselves, so that nobody waits until a million are moved. Where the homes are, nobody outside knows:
// neighbors choose the prefixes.
type index struct {
	parts [1 << partBits]part
	seed  [2]uint64
	n     int
}

// part is a power of two of slots, at most half of them used: a place and one, or 0.
type part struct {
	slots []uint32
	n     int
}

const (
	partBits   = 6
	leastSlots = 64
	// runBits of a key's number say where in a run of homes its own is; the others, where the run begins.
	runBits = 5
)

func newIndex() index { return index{seed: [2]uint64{rand.Uint64(), rand.Uint64()}} }

// home is the part of a key and where the search in it begins, before it is cut to the part's size.
func (x *index) home(number, kind uint64) (*part, uint32) {
	hi, lo := bits.Mul64(number>>runBits^x.seed[0], kind^x.seed[1])
	h := (hi ^ lo) * 0x9e3779b97f4a7c15
	return &x.parts[h>>(64-partBits)], uint32(h>>16) + uint32(number&(1<<runBits-1))
}

// find gives the place of a key.
func (b *book[K]) find(k K) (place uint32, ok bool) {
	p, at := b.index.home(k.number())
	if p.n == 0 {
		return 0, false
	}
	for mask := uint32(len(p.slots) - 1); ; at++ {
		s := p.slots[at&mask]
		if s == 0 {
			return 0, false
		}
		if b.at(s-1).key == k {
			return s - 1, true
		}
	}
}

// enter notes the place of a key that is not known, and lies there already.
func (b *book[K]) enter(k K, place uint32) {
	p, at := b.index.home(k.number())
	if 2*(p.n+1) > len(p.slots) {
		old := p.slots
		p.slots = make([]uint32, max(2*len(old), leastSlots))
		for _, s := range old {
			if s != 0 {
				_, at := b.index.home(b.at(s - 1).key.number())
				p.put(at, s)
			}
		}
	}
	p.put(at, place+1)
	p.n++
	b.index.n++
}

func (p *part) put(at, s uint32) {
	mask := uint32(len(p.slots) - 1)
	for p.slots[at&mask] != 0 {
		at++
	}
	p.slots[at&mask] = s
}

// forget forgets the place of a key that is known. What follows it without a gap moves up, unless that is ahead of its home.
func (b *book[K]) forget(k K) {
	p, at := b.index.home(k.number())
	mask := uint32(len(p.slots) - 1)
	for b.at(p.slots[at&mask]-1).key != k {
		at++
	}
	for free := at; ; {
		at++
		s := p.slots[at&mask]
		if s == 0 {
			p.slots[free&mask] = 0
			break
		}
		if _, h := b.index.home(b.at(s - 1).key.number()); (at-h)&mask >= (at-free)&mask {
			p.slots[free&mask] = s
			free = at
		}
	}
	p.n--
	b.index.n--
}
