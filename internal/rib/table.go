package rib

import (
	"iter"
	"net/netip"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// Table holds the routes of one address family. It is not safe for concurrent use: one goroutine owns it.
//
// Prefixes and routes live in slabs without pointers, routes chained by index from their prefix, and attribute sets are
// shared: a full table costs the garbage collector nothing, about 55 bytes a prefix and 12 a route.
type Table struct {
	family   route.Family
	links    [256]LinkParams
	counts   [256]Counts
	stages   [256]*stage
	rankings *Rankings

	index  index
	free   []uint32
	routes slab[entry] // 0 is unused: it ends a chain
	spare  uint32      // head of the chain of free entries
	sets   []attrSet
	worths []worth       // by set: what the decision reads for every route, close together
	held   [256][]uint32 // by link and the last bits of the serial: a set that hold gave of late
	spares []uint32
	single [256]RankingID // by link: of a prefix that this link alone has; 0: not asked yet

	between func() // nil, or what Between was given
	every   int
	steps   int

	dirty   slab[uint32]
	touched slab[touch]
	scratch []Candidate
	graded  []graded
	key     []byte
}

type entry struct {
	next   uint32
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
	Staged   int // announcements that wait for Take; what was announced twice counts twice
	gen      uint8
}

// NewTable returns an empty table.
func NewTable(f route.Family) *Table {
	t := &Table{
		family:   f,
		rankings: NewRankings(),
		index:    newIndex(f),
		sets:     []attrSet{{attrs: &route.Attrs{}}},
		worths:   []worth{{}},
	}
	t.routes.add()
	return t
}

// Rankings returns the interner of the table's rankings.
func (t *Table) Rankings() *Rankings { return t.rankings }

// Len is the number of prefixes with at least one route, rejected ones included.
func (t *Table) Len() int { return t.index.size }

// Counts returns the numbers of a link.
func (t *Table) Counts(l route.Link) Counts { return t.counts[l] }

// SetLink sets what the decision knows of a link. Every prefix is decided again at the next Commit.
func (t *Table) SetLink(l route.Link, p LinkParams) {
	if t.links[l] == p {
		return
	}
	t.links[l] = p
	for slot := range t.used() {
		t.mark(slot)
	}
}

// Apply takes an update of a link's neighbor, judged by imp. No more than limit routes are kept of the link where limit
// is above 0; it returns how many announcements were beyond it and not kept. What was staged of the link is taken first.
func (t *Table) Apply(l route.Link, imp *policy.Import, u route.Update, limit int) (beyond int) {
	t.Take(l)
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

// SetStatic adds or removes the static default of a link without BGP. Where that is as it was, nothing changes.
func (t *Table) SetStatic(l route.Link, on bool) {
	e := t.static(l)
	// What is staged may take it out.
	if on && e != nil && e.gen == t.counts[l].gen && !t.Waits(l) || !on && e == nil {
		return
	}
	t.Take(l)
	if on {
		t.put(l, t.family.Default(), nil, policy.Accepted, 0)
		return
	}
	if slot, ok := t.index.get(keyOf(t.family.Default())); ok {
		t.remove(slot, func(e *entry) bool { return e.link == l && e.set == 0 })
	}
}

// static is a link's static default; nil: it has none.
func (t *Table) static(l route.Link) *entry {
	slot, ok := t.index.get(keyOf(t.family.Default()))
	if !ok {
		return nil
	}
	if e := t.routeOf(slot, l); e != nil && e.set == 0 {
		return e
	}
	return nil
}

func (t *Table) put(l route.Link, p netip.Prefix, a *route.Attrs, reason policy.Reason, limit int) bool {
	k := keyOf(p)
	at, slot, ok := t.index.find(k)
	if limit > 0 && t.counts[l].Received >= limit && (!ok || t.routeOf(slot, l) == nil) {
		return false
	}
	if !ok {
		slot = t.newDest(at, k)
	}
	t.set(slot, l, t.hold(l, a), reason)
	return true
}

// routeOf is a link's route for a prefix; nil: it has none.
func (t *Table) routeOf(slot uint32, l route.Link) *entry {
	for i := t.index.dests.at(slot).routes; i != 0; {
		e := t.routes.at(i)
		if e.link == l {
			return e
		}
		i = e.next
	}
	return nil
}

// set makes a link's route for a prefix one with a set that hold gave.
func (t *Table) set(slot uint32, l route.Link, set uint32, reason policy.Reason) {
	c := &t.counts[l]
	if e := t.routeOf(slot, l); e != nil {
		if e.gen != c.gen {
			e.gen = c.gen
			c.Stale--
		}
		old, before := e.set, e.reason
		e.set, e.reason = set, reason
		same := t.sets[old].attrs == t.sets[set].attrs && before == reason
		t.drop(old)
		if same {
			return
		}
		c.Accepted += accepted(reason) - accepted(before)
		if before == policy.Accepted || reason == policy.Accepted {
			t.mark(slot)
		}
		return
	}
	i := t.newEntry()
	d := t.index.dests.at(slot)
	if reason == policy.Accepted || d.routes == 0 {
		t.mark(slot) // also a new prefix without a usable route has to be placed: it hands its cover's ranking on
	}
	*t.routes.at(i) = entry{next: d.routes, set: set, link: l, reason: reason, gen: c.gen}
	d.routes = i
	c.Received++
	c.Accepted += accepted(reason)
}

func (t *Table) withdraw(l route.Link, p netip.Prefix) {
	if slot, ok := t.index.get(keyOf(p)); ok {
		t.remove(slot, func(e *entry) bool { return e.link == l })
	}
}

// remove takes the entries out of a prefix that gone names.
func (t *Table) remove(slot uint32, gone func(*entry) bool) {
	d := t.index.dests.at(slot)
	for at := &d.routes; *at != 0; {
		i := *at
		e := t.routes.at(i)
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
	t.unstage(l)
	if t.counts[l].Received == 0 {
		return
	}
	for slot := range t.used() {
		t.remove(slot, func(e *entry) bool { return e.link == l })
	}
}

// MarkStale makes all routes of a link stale (RFC 4724, RFC 7313): what is not announced again before Sweep is removed
// by it. Stale routes go on being used.
func (t *Table) MarkStale(l route.Link) {
	t.Take(l)
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
	t.Take(l)
	c := &t.counts[l]
	n := c.Stale
	if n == 0 {
		return 0
	}
	for slot := range t.used() {
		t.remove(slot, func(e *entry) bool { return e.link == l && e.gen != c.gen })
	}
	return n
}

// Rejudge applies changed rules to the routes that a link has, also to those that are staged.
func (t *Table) Rejudge(l route.Link, imp *policy.Import) {
	t.rejudgeStaged(l, imp)
	for slot := range t.used() {
		for i := t.index.dests.at(slot).routes; i != 0; {
			e := t.routes.at(i)
			i = e.next
			if e.link != l || e.set == 0 {
				continue
			}
			reason := imp.Attrs(t.sets[e.set].attrs).Prefix(t.index.prefix(slot))
			if reason == e.reason {
				continue
			}
			t.counts[l].Accepted += accepted(reason) - accepted(e.reason)
			if e.reason == policy.Accepted || reason == policy.Accepted {
				t.mark(slot)
			}
			e.reason = reason
		}
	}
}

func (t *Table) each(l route.Link, do func(*entry)) {
	for slot := range t.used() {
		for i := t.index.dests.at(slot).routes; i != 0; {
			e := t.routes.at(i)
			i = e.next
			if e.link == l {
				do(e)
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

// Between has do called after each so many prefixes of long work, which goes on behind it. Then the table must not be asked for
// anything but its rankings.
func (t *Table) Between(every int, do func()) { t.every, t.between = every, do }

// step is one prefix of long work.
func (t *Table) step() {
	if t.steps++; t.steps >= t.every && t.between != nil {
		t.steps = 0
		t.between()
	}
}

// used walks the slots that have routes, in no particular order.
func (t *Table) used() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for slot := uint32(1); slot < t.index.dests.n; slot++ {
			t.step()
			if t.index.dests.at(slot).routes != 0 && !yield(slot) {
				return
			}
		}
	}
}

func (t *Table) newDest(at position, k key) uint32 {
	slot := t.newSlot()
	t.index.insert(at, k, slot)
	return slot
}

func (t *Table) newSlot() uint32 {
	n := len(t.free)
	if n == 0 {
		return t.index.add()
	}
	slot := t.free[n-1]
	t.free = t.free[:n-1]
	return slot
}

func (t *Table) newEntry() uint32 {
	if i := t.spare; i != 0 {
		t.spare = t.routes.at(i).next
		return i
	}
	return t.routes.add()
}

// heldMost is how many sets of a link hold finds again: most of those of a full table.
const heldMost = 1 << 17

// hold gives an attribute set of a link with one more reference. The same set may be there twice, where so many others came
// between that it is not found again.
func (t *Table) hold(l route.Link, a *route.Attrs) uint32 {
	if a == nil {
		return 0
	}
	at := int(a.Serial % heldMost)
	if n := len(t.held[l]); at >= n {
		t.held[l] = append(t.held[l], make([]uint32, min(at+at/4+64, heldMost)-n)...)
	}
	held := &t.held[l][at]
	if t.sets[*held].attrs == a {
		t.sets[*held].refs++
		return *held
	}
	if n := len(t.spares); n > 0 {
		*held = t.spares[n-1]
		t.spares = t.spares[:n-1]
	} else {
		*held = uint32(len(t.sets))
		t.sets, t.worths = append(t.sets, attrSet{}), append(t.worths, worth{})
	}
	t.sets[*held], t.worths[*held] = attrSet{attrs: a, refs: 1}, worthOf(a)
	return *held
}

func (t *Table) drop(id uint32) {
	if id == 0 {
		return
	}
	s := &t.sets[id]
	s.refs--
	if s.refs == 0 {
		*s = attrSet{}
		t.spares = append(t.spares, id)
	}
}

func (t *Table) mark(slot uint32) {
	if d := t.index.dests.at(slot); !d.dirty {
		d.dirty = true
		*t.dirty.at(t.dirty.add()) = slot
	}
}
