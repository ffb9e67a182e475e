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
	said   slab[said]
	lows   slab[low] // IPv6 only
	sorted bool
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
	verdict, set := imp.Attrs(u.Attrs), t.hold(l, u.Attrs)
	t.sets[set].refs += int32(len(u.Announced)) - 1
	for _, p := range u.Announced {
		s.add(t.family, p, said{set: set, reason: verdict.Prefix(p)})
	}
	return 0
}

// Waits reports whether something was staged of a link, be it nothing but withdrawals.
func (t *Table) Waits(l route.Link) bool { return t.stages[l] != nil && t.stages[l].said.n > 0 }

func (s *stage) add(f route.Family, p netip.Prefix, x said) {
	k := keyOf(p)
	x.rank, s.sorted = rankOf(f, k), false
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

func (t *Table) rejudgeStaged(l route.Link, imp *policy.Import) {
	s := t.stages[l]
	if s == nil {
		return
	}
	for i := range s.said.n {
		if x := s.said.at(i); !x.gone {
			x.reason = imp.Attrs(t.sets[x.set].attrs).Prefix(s.key(t.family, i).prefix(t.family))
		}
	}
}

// SortStaged does that part of Take which needs nothing but what was staged of the link. It may be called for several links
// side by side.
func (t *Table) SortStaged(l route.Link) {
	if s := t.stages[l]; s != nil && !s.sorted {
		s.sort(t.family)
		s.sorted = true
	}
}

// Take takes in what was staged of a link; the next Commit decides.
func (t *Table) Take(l route.Link) {
	t.SortStaged(l)
	s := t.unstaged(l)
	switch {
	case s == nil:
	case int(s.said.n) > t.index.size/8:
		t.merge(feeds{{link: l, stage: s}}, nil)
	default:
		t.search(l, s)
	}
}

// TakeAll takes in what was staged of links and decides: as Take of each and Commit. Where that is much beside the table, it is
// one walk, and each hears of changes in the order of prefixes while it goes on, behind those of a Commit of what was dirty before.
// Until TakeAll returns, the table must not be asked for anything but its rankings.
func (t *Table) TakeAll(links []route.Link, each func(Change)) {
	var all feeds
	n := uint32(0)
	for _, l := range links {
		t.SortStaged(l)
		if s := t.stages[l]; s != nil {
			all = append(all, feed{link: l, stage: s})
			n += s.said.n
		}
	}
	if int(n) <= t.index.size/8 {
		for _, f := range all {
			t.Take(f.link)
		}
		t.Commit(each)
		return
	}
	t.Commit(each)
	for _, f := range all {
		t.unstaged(f.link)
	}
	t.merge(all, each)
	t.clear()
}

// unstaged takes out what was staged of a link; nil: nothing was.
func (t *Table) unstaged(l route.Link) *stage {
	s := t.stages[l]
	t.stages[l], t.counts[l].Staged = nil, 0
	return s
}

// search takes in a sorted stage that is little beside the table: each prefix is searched for.
func (t *Table) search(l route.Link, s *stage) {
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
	if s := t.unstaged(l); s != nil {
		for x := range s.said.all() {
			t.drop(x.set)
		}
	}
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
