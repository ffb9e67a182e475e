package rib

import (
	"net/netip"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// stage is what a link's neighbor said and what is not taken into the table yet, in the order in which it was said.
//
// A whole table comes in no order. Taken in prefix by prefix, each costs the cache misses of a search; sorted first, it is
// one walk over the index. And what is decided before all of it is there is decided again: between the default route of
// a better neighbor and the rest of its table, every prefix of the worse one seems to differ from what covers it.
type stage struct {
	said slab[said]
	lows slab[low] // IPv6 only
}

// maxStaged bounds what waits: more than any table has.
const maxStaged = 1 << 21

// said is a route, or its withdrawal. It holds a reference to its attribute set.
type said struct {
	rank   uint64 // as in dest
	set    uint32
	reason policy.Reason
	gone   bool
}

// Stage keeps an update of a link's neighbor for Take, judged by imp: nothing in the table shows it before, but for
// Counts.Staged. It returns how many announcements were beyond the limit, and not kept; near the limit what was staged is
// taken first, so that what is said twice counts once.
func (t *Table) Stage(l route.Link, imp *policy.Import, u route.Update, limit int) (beyond int) {
	c := &t.counts[l]
	if limit > 0 && c.Received+c.Staged+len(u.Announced) > limit {
		t.Take(l)
		return t.Apply(l, imp, u, limit)
	}
	s := t.stages[l]
	if s != nil && s.said.n >= maxStaged {
		t.Take(l)
		s = nil
	}
	if s == nil {
		s = new(stage)
		t.stages[l] = s
	}
	for _, p := range u.Withdrawn {
		s.add(t.family, p, said{gone: true})
	}
	c.Staged += len(u.Announced)
	if len(u.Announced) == 0 {
		return 0
	}
	verdict, set := imp.Attrs(u.Attrs), t.hold(u.Attrs)
	t.sets[set].refs += int32(len(u.Announced)) - 1
	for _, p := range u.Announced {
		s.add(t.family, p, said{set: set, reason: verdict.Prefix(p)})
	}
	return 0
}

func (s *stage) add(f route.Family, p netip.Prefix, x said) {
	k := keyOf(p)
	x.rank = rankOf(f, k)
	*s.said.at(s.said.add()) = x
	if f == route.IPv6 {
		*s.lows.at(s.lows.add()) = low{k.lo, k.bits}
	}
}

func (s *stage) key(f route.Family, i uint32) key {
	r := s.said.at(i).rank
	if f == route.IPv4 {
		return keyOfRank(r)
	}
	l := s.lows.at(i)
	return key{r, l.lo, l.bits}
}

// Take takes in what was staged of a link; the next Commit decides.
func (t *Table) Take(l route.Link) {
	s := t.stages[l]
	if s == nil {
		return
	}
	t.stages[l], t.counts[l].Staged = nil, 0
	if s.said.n == 0 {
		return
	}
	s.sort(t.family)
	if int(s.said.n) > t.index.size/8 {
		t.merge(l, s)
		return
	}
	for i := range s.said.n {
		x, k := s.said.at(i), s.key(t.family, i)
		if s.again(t.family, i, k) {
			t.drop(x.set)
			continue
		}
		at, slot, ok := t.index.find(k)
		switch {
		case ok:
			t.say(l, slot, x)
		case !x.gone:
			slot = t.newDest(at, k)
			t.say(l, slot, x)
		}
	}
}

// unstage forgets what was staged of a link.
func (t *Table) unstage(l route.Link) {
	s := t.stages[l]
	if s == nil {
		return
	}
	for x := range s.said.all() {
		t.drop(x.set)
	}
	t.stages[l], t.counts[l].Staged = nil, 0
}

// again reports whether what follows i in a sorted stage is about the same prefix: then that counts.
func (s *stage) again(f route.Family, i uint32, k key) bool {
	return i+1 < s.said.n && s.said.at(i+1).rank == s.said.at(i).rank && s.key(f, i+1) == k
}

// say makes what was said true of a prefix.
func (t *Table) say(l route.Link, slot uint32, x *said) {
	if x.gone {
		t.remove(slot, func(e *entry) bool { return e.link == l })
		return
	}
	t.set(slot, l, x.set, x.reason)
}

// sort orders what was said by prefix, and what is about one prefix as it was said: by one digit after the other, from the
// last on, without those that are the same in all.
func (s *stage) sort(f route.Family) {
	var to stage
	by := func(value func(i uint32) uint64) {
		differ := uint64(0)
		for i := range s.said.n {
			differ |= value(i) ^ value(0)
		}
		for shift := 0; shift < 64; shift += 8 {
			if uint8(differ>>shift) == 0 {
				continue
			}
			if to.said.n == 0 {
				to.said.grow(s.said.n)
				to.lows.grow(s.lows.n)
			}
			s.deal(&to, func(i uint32) uint8 { return uint8(value(i) >> shift) })
			*s, to = to, *s
		}
	}
	if f == route.IPv6 {
		by(func(i uint32) uint64 { return uint64(s.lows.at(i).bits) })
		by(func(i uint32) uint64 { return s.lows.at(i).lo })
	}
	by(func(i uint32) uint64 { return s.said.at(i).rank })
}

// deal puts what was said into to in the order of one digit, and where that is the same in the order that it has.
func (s *stage) deal(to *stage, digit func(i uint32) uint8) {
	var places [256]uint32
	for i := range s.said.n {
		places[digit(i)]++
	}
	at := uint32(0)
	for d, n := range places {
		places[d] = at
		at += n
	}
	for i := range s.said.n {
		d := digit(i)
		*to.said.at(places[d]) = *s.said.at(i)
		if s.lows.n > 0 {
			*to.lows.at(places[d]) = *s.lows.at(i)
		}
		places[d]++
	}
}
