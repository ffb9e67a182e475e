package rib

import (
	"net/netip"

	"github.com/gaissmai/bart"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// Table holds the routes of one address family. It is not safe for concurrent use: one goroutine owns it.
//
// Routes live in slabs without pointers, chained by index from their prefix, and attribute sets are shared, so that the
// garbage collector does not walk a full table and a route costs 16 bytes beside its prefix.
type Table struct {
	family   route.Family
	links    [256]LinkParams
	counts   [256]Counts
	rankings *Rankings

	index  bart.Table[uint32] // prefix → slot of dests
	dests  []dest
	free   []uint32
	routes []entry // [0] is unused: 0 ends a chain
	spare  int32   // head of the chain of free entries
	sets   []attrSet
	setOf  map[*route.Attrs]uint32
	spares []uint32

	dirty   []uint32
	commit  uint32
	touched []touch
	scratch []Candidate
	key     []byte
}

type dest struct {
	prefix  netip.Prefix
	routes  int32
	own     RankingID
	cover   RankingID
	ranking RankingID
	touched uint32 // the commit that noted the old state
	walked  uint32 // the commit in which the covering prefix was walked
	dirty   bool
}

type entry struct {
	next   int32
	set    uint32 // 0: a static default
	link   route.Link
	reason policy.Reason
	gen    uint8 // older than the link's: stale
}

type attrSet struct {
	attrs *route.Attrs
	refs  int32
}

// Counts are the numbers of a link's routes.
type Counts struct {
	Received int // all that the neighbor announced and did not withdraw
	Accepted int
	Stale    int // as of the last MarkStale, less what was refreshed since
	gen      uint8
}

// NewTable returns an empty table.
func NewTable(f route.Family) *Table {
	return &Table{
		family:   f,
		rankings: NewRankings(),
		routes:   make([]entry, 1),
		sets:     []attrSet{{attrs: &route.Attrs{}}},
		setOf:    map[*route.Attrs]uint32{},
	}
}

// Rankings returns the interner of the table's rankings.
func (t *Table) Rankings() *Rankings { return t.rankings }

// Len is the number of prefixes with at least one route, rejected ones included.
func (t *Table) Len() int { return t.index.Size() }

// Counts returns the numbers of a link.
func (t *Table) Counts(l route.Link) Counts { return t.counts[l] }

// SetLink sets what the decision knows of a link. Every prefix is decided again at the next Commit.
func (t *Table) SetLink(l route.Link, p LinkParams) {
	if t.links[l] == p {
		return
	}
	t.links[l] = p
	for i := range t.dests {
		if t.dests[i].routes != 0 {
			t.mark(uint32(i))
		}
	}
}

// Apply takes an update of a link's neighbor, judged by imp. No more than limit routes are kept of the link where limit
// is above 0; it returns how many announcements were beyond it and not kept.
func (t *Table) Apply(l route.Link, imp *policy.Import, u route.Update, limit int) (beyond int) {
	for _, p := range u.Withdrawn {
		t.withdraw(l, p)
	}
	if len(u.Announced) == 0 {
		return 0
	}
	verdict := imp.Attrs(u.Attrs)
	for _, p := range u.Announced {
		if !t.put(l, p, u.Attrs, verdict.Prefix(p), limit) {
			beyond++
		}
	}
	return beyond
}

// SetStatic adds or removes the static default of a link without BGP.
func (t *Table) SetStatic(l route.Link, on bool) {
	if on {
		t.put(l, t.family.Default(), nil, policy.Accepted, 0)
		return
	}
	if slot, ok := t.index.Get(t.family.Default()); ok {
		t.remove(slot, func(e *entry) bool { return e.link == l && e.set == 0 })
	}
}

func (t *Table) put(l route.Link, p netip.Prefix, a *route.Attrs, reason policy.Reason, limit int) bool {
	c := &t.counts[l]
	slot, ok := t.index.Get(p)
	if ok {
		for i := t.dests[slot].routes; i != 0; i = t.routes[i].next {
			e := &t.routes[i]
			if e.link != l {
				continue
			}
			if e.gen != c.gen {
				e.gen = c.gen
				c.Stale--
			}
			if t.sets[e.set].attrs == a && e.reason == reason {
				return true
			}
			c.Accepted += accepted(reason) - accepted(e.reason)
			if e.reason == policy.Accepted || reason == policy.Accepted {
				t.mark(slot)
			}
			old := e.set
			e.set, e.reason = t.hold(a), reason
			t.drop(old)
			return true
		}
	}
	if limit > 0 && c.Received >= limit {
		return false
	}
	if !ok {
		slot = t.newDest(p)
	}
	i := t.newEntry()
	d := &t.dests[slot]
	t.routes[i] = entry{next: d.routes, set: t.hold(a), link: l, reason: reason, gen: c.gen}
	d.routes = i
	c.Received++
	c.Accepted += accepted(reason)
	if reason == policy.Accepted || !ok {
		t.mark(slot) // also a new prefix without a usable route has to be placed: it hands its cover's ranking on
	}
	return true
}

func (t *Table) withdraw(l route.Link, p netip.Prefix) {
	if slot, ok := t.index.Get(p); ok {
		t.remove(slot, func(e *entry) bool { return e.link == l })
	}
}

// remove takes the entries out of a prefix that gone names.
func (t *Table) remove(slot uint32, gone func(*entry) bool) {
	d := &t.dests[slot]
	for at := &d.routes; *at != 0; {
		i := *at
		e := &t.routes[i]
		if !gone(e) {
			at = &e.next
			continue
		}
		*at = e.next
		c := &t.counts[e.link]
		c.Received--
		c.Accepted -= accepted(e.reason)
		if e.gen != c.gen {
			c.Stale--
		}
		if e.reason == policy.Accepted || d.routes == 0 {
			t.mark(slot)
		}
		t.drop(e.set)
		*e = entry{next: t.spare}
		t.spare = i
	}
	if d.routes == 0 {
		t.mark(slot)
	}
}

// RemoveLink takes out all routes of a link.
func (t *Table) RemoveLink(l route.Link) {
	if t.counts[l].Received == 0 {
		return
	}
	for i := range t.dests {
		if t.dests[i].routes != 0 {
			t.remove(uint32(i), func(e *entry) bool { return e.link == l })
		}
	}
}

// MarkStale makes all routes of a link stale (RFC 4724, RFC 7313): what is not announced again before Sweep is removed
// by it. Stale routes go on being used.
func (t *Table) MarkStale(l route.Link) {
	c := &t.counts[l]
	if c.Stale > 0 {
		// Two unfinished generations must not meet: bring the older ones to the same age first.
		t.each(l, func(e *entry) { e.gen = c.gen })
	}
	c.gen++
	c.Stale = c.Received
}

// Sweep removes the routes of a link that are still stale, and returns how many.
func (t *Table) Sweep(l route.Link) int {
	c := &t.counts[l]
	n := c.Stale
	if n == 0 {
		return 0
	}
	for i := range t.dests {
		if t.dests[i].routes != 0 {
			t.remove(uint32(i), func(e *entry) bool { return e.link == l && e.gen != c.gen })
		}
	}
	return n
}

// Rejudge applies changed rules to the routes that a link has.
func (t *Table) Rejudge(l route.Link, imp *policy.Import) {
	for slot := range t.dests {
		d := &t.dests[slot]
		for i := d.routes; i != 0; i = t.routes[i].next {
			e := &t.routes[i]
			if e.link != l || e.set == 0 {
				continue
			}
			reason := imp.Attrs(t.sets[e.set].attrs).Prefix(d.prefix)
			if reason == e.reason {
				continue
			}
			t.counts[l].Accepted += accepted(reason) - accepted(e.reason)
			if e.reason == policy.Accepted || reason == policy.Accepted {
				t.mark(uint32(slot))
			}
			e.reason = reason
		}
	}
}

func (t *Table) each(l route.Link, do func(*entry)) {
	for slot := range t.dests {
		for i := t.dests[slot].routes; i != 0; i = t.routes[i].next {
			if t.routes[i].link == l {
				do(&t.routes[i])
			}
		}
	}
}

func accepted(r policy.Reason) int {
	if r == policy.Accepted {
		return 1
	}
	return 0
}

func (t *Table) newDest(p netip.Prefix) uint32 {
	var slot uint32
	if n := len(t.free); n > 0 {
		slot = t.free[n-1]
		t.free = t.free[:n-1]
		t.dests[slot] = dest{prefix: p}
	} else {
		slot = uint32(len(t.dests))
		t.dests = append(t.dests, dest{prefix: p})
	}
	t.index.Insert(p, slot)
	return slot
}

func (t *Table) newEntry() int32 {
	if i := t.spare; i != 0 {
		t.spare = t.routes[i].next
		return i
	}
	t.routes = append(t.routes, entry{})
	return int32(len(t.routes) - 1)
}

func (t *Table) hold(a *route.Attrs) uint32 {
	if a == nil {
		return 0
	}
	if id, ok := t.setOf[a]; ok {
		t.sets[id].refs++
		return id
	}
	var id uint32
	if n := len(t.spares); n > 0 {
		id = t.spares[n-1]
		t.spares = t.spares[:n-1]
	} else {
		id = uint32(len(t.sets))
		t.sets = append(t.sets, attrSet{})
	}
	t.sets[id] = attrSet{attrs: a, refs: 1}
	t.setOf[a] = id
	return id
}

func (t *Table) drop(id uint32) {
	if id == 0 {
		return
	}
	s := &t.sets[id]
	s.refs--
	if s.refs == 0 {
		delete(t.setOf, s.attrs)
		*s = attrSet{}
		t.spares = append(t.spares, id)
	}
}

func (t *Table) mark(slot uint32) {
	if d := &t.dests[slot]; !d.dirty {
		d.dirty = true
		t.dirty = append(t.dirty, slot)
	}
}
