package reconcile

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"bothways/internal/kstate"
)

// routePair is a route as wanted and as the kernel has it; a type of 0 means not at all.
type routePair struct {
	want, have         kstate.NexthopID
	wantType, haveType kstate.RouteType
	follows            bool  // as wanted: without it packets go the same way
	queued             bool  // it lies in the queue
	taken              bool  // out of it, and what became of it is not known yet
	seen               uint8 // by the reading of this number
}

func (p routePair) agrees() bool { return p.wantType == p.haveType && p.want == p.have }

// took notes that the kernel took a change.
func (p *routePair) took(c *kstate.Change) {
	p.haveType, p.have = c.Route.Type, c.Route.Nexthop
	if c.Verb == kstate.Delete {
		p.lost()
	}
}

// lost notes that the kernel no longer has the route.
func (p *routePair) lost() { p.haveType, p.have = 0, 0 }

// none reports that the route is neither wanted nor there.
func (p routePair) none() bool { return p.wantType == 0 && p.haveType == 0 }

// routes holds all routes that are wanted or there, which may be a million and more, and queues those that disagree.
// A route costs some 40 bytes in IPv4.
type routes struct {
	four           book[key4]
	six            book[key6]
	spaces         []space
	numbers        map[space]uint16
	wanted, differ int
	there          int // that the kernel has
	unready        int // of the queue, when the last pass ended
}

// space is a table with a metric: there are few.
type space struct{ table, metric uint32 }

// key4 is an IPv4 route: the address, behind it the number of its space, and the length of the prefix.
type key4 uint64

func (k key4) space() uint16   { return uint16(k >> 8) }
func (k key4) address() uint32 { return uint32(k >> 32) }

// level is lower the more zeros the address ends with. A default that is there and changes comes last: what shall not follow it has a
// route of its own by then.
func (k key4) level(there bool) int {
	if there && uint8(k) == 0 {
		return maxLevel
	}
	return maxLevel - 1 - bits.TrailingZeros32(k.address())
}

func (k key4) number() (number, kind uint64) {
	return uint64(k.address()) >> (32 - uint8(k)), uint64(uint32(k))
}

type key6 struct {
	hi, lo uint64
	in     uint16 // its space
	bits   uint8
}

func (k key6) space() uint16 { return k.in }

// level is one for all but for a default that changes: to the kernel's IPv6 table the order is all the same.
func (k key6) level(there bool) int { return one(there && k.bits == 0) }

func (k key6) number() (number, kind uint64) {
	kind = uint64(k.in)<<8 | uint64(k.bits)
	if k.bits <= 64 {
		return k.hi >> (64 - k.bits), kind
	}
	return k.lo >> (128 - k.bits), kind ^ k.hi*0x9e3779b97f4a7c15
}

type routeID interface {
	comparable
	space() uint16
	level(there bool) int // in the queue, inside its table's
	// number counts the prefixes of one length; kind is all else that makes a key. Neither needs be exact.
	number() (number, kind uint64)
}

// book is the part of one family. Routes keep their place, which is what the queue holds; what is in the queue has its mark,
// so that it is there once.
type book[K routeID] struct {
	index        index
	pages        [][]kept[K]
	used         uint32
	free         []uint32
	queue, later queue // later: looked at in this pass, and not taken
}

type kept[K routeID] struct {
	key K
	routePair
}

const pageSize = 1 << 10

func (b *book[K]) at(place uint32) *kept[K] { return &b.pages[place/pageSize][place%pageSize] }

func (b *book[K]) add(k K) uint32 {
	var place uint32
	if n := len(b.free); n > 0 {
		place = b.free[n-1]
		b.free = b.free[:n-1]
	} else {
		place = b.used
		b.used++
		if place/pageSize == uint32(len(b.pages)) {
			b.pages = append(b.pages, make([]kept[K], pageSize))
		}
	}
	*b.at(place) = kept[K]{key: k}
	b.enter(k, place)
	return place
}

// tidy keeps a route as long as it is wanted, there, in the queue, or out of it to be written.
func (b *book[K]) tidy(place uint32) {
	if p := b.at(place); p.none() && !p.queued && !p.taken {
		b.forget(p.key)
		*p = kept[K]{}
		b.free = append(b.free, place)
	}
}

// each walks the routes. They may change meanwhile, but none may come.
func (b *book[K]) each(do func(place uint32, p *kept[K])) {
	for place := range b.used {
		if p := b.at(place); !p.none() || p.queued || p.taken {
			do(place, p)
		}
	}
}

func newRoutes() routes {
	return routes{four: book[key4]{index: newIndex()}, six: book[key6]{index: newIndex()}, numbers: map[space]uint16{}}
}

func (r *routes) number(k kstate.RouteKey) uint16 {
	s := space{k.Table, k.Metric}
	n, ok := r.numbers[s]
	if !ok {
		n = uint16(len(r.spaces))
		r.numbers[s] = n
		r.spaces = append(r.spaces, s)
	}
	return n
}

func (r *routes) pack4(k kstate.RouteKey) key4 {
	a := k.Prefix.Addr().As4()
	return key4(binary.BigEndian.Uint32(a[:]))<<32 | key4(r.number(k))<<8 | key4(k.Prefix.Bits())
}

func (r *routes) pack6(k kstate.RouteKey) key6 {
	a := k.Prefix.Addr().As16()
	return key6{binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:]), r.number(k), uint8(k.Prefix.Bits())}
}

func (r *routes) unpack4(k key4) kstate.RouteKey {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], k.address())
	return r.key(k.space(), netip.PrefixFrom(netip.AddrFrom4(a), int(uint8(k))))
}

func (r *routes) unpack6(k key6) kstate.RouteKey {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], k.hi)
	binary.BigEndian.PutUint64(a[8:], k.lo)
	return r.key(k.space(), netip.PrefixFrom(netip.AddrFrom16(a), int(k.bits)))
}

func (r *routes) key(n uint16, p netip.Prefix) kstate.RouteKey {
	return kstate.RouteKey{Table: r.spaces[n].table, Prefix: p, Metric: r.spaces[n].metric}
}

func (r *routes) len() int { return r.four.index.n + r.six.index.n }

// change lets f change a route, which is zero where it is not known.
func (r *routes) change(k kstate.RouteKey, f func(*routePair)) {
	if k.Prefix.Addr().Is4() {
		change(r, &r.four, r.pack4(k), f)
	} else {
		change(r, &r.six, r.pack6(k), f)
	}
}

func change[K routeID](r *routes, b *book[K], k K, f func(*routePair)) {
	place, ok := b.find(k)
	if !ok {
		place = b.add(k)
	}
	changeAt(r, b, place, f)
}

func changeAt[K routeID](r *routes, b *book[K], place uint32, f func(*routePair)) {
	p := b.at(place)
	was := p.routePair
	f(&p.routePair)
	r.wanted += one(p.wantType != 0) - one(was.wantType != 0)
	r.there += one(p.haveType != 0) - one(was.haveType != 0)
	r.differ += one(!p.agrees()) - one(!was.agrees())
	if !p.agrees() && !p.queued {
		p.queued = true
		b.queue.add(level(r, p), place)
	}
	b.tidy(place)
}

func level[K routeID](r *routes, p *kept[K]) int {
	l := p.key.level(p.haveType != 0 || p.taken) // what is being written is there when it is given again
	switch {
	case p.follows:
		l += 2 * (maxLevel + 1)
	case r.spaces[p.key.space()].table != kstate.Table:
		l += maxLevel + 1
	}
	return l
}

// wrote notes a change that the kernel took, of a route that take gave with its place.
func (r *routes) wrote(c *kstate.Change, place uint32) {
	r.give(c, place, func(p *routePair) { p.took(c) })
}

// again puts a route that take gave back into the queue, if it still disagrees: the change was not made.
func (r *routes) again(c *kstate.Change, place uint32) { r.give(c, place, func(*routePair) {}) }

func (r *routes) give(c *kstate.Change, place uint32, f func(*routePair)) {
	back := func(p *routePair) {
		p.taken = false
		f(p)
	}
	if c.Route.Prefix.Addr().Is4() {
		changeAt(r, &r.four, place, back)
	} else {
		changeAt(r, &r.six, place, back)
	}
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// changeAll lets f change every route that match accepts.
func (r *routes) changeAll(match func(routePair) bool, f func(*routePair)) {
	changeAll(r, &r.four, match, f)
	changeAll(r, &r.six, match, f)
}

func changeAll[K routeID](r *routes, b *book[K], match func(routePair) bool, f func(*routePair)) {
	b.each(func(place uint32, p *kept[K]) {
		if match(p.routePair) {
			changeAt(r, b, place, f)
		}
	})
}

// each walks the routes.
func (r *routes) each(do func(kstate.RouteKey, routePair)) {
	r.four.each(func(_ uint32, p *kept[key4]) { do(r.unpack4(p.key), p.routePair) })
	r.six.each(func(_ uint32, p *kept[key6]) { do(r.unpack6(p.key), p.routePair) })
}

// take gives up to limit routes of the queue that disagree and are ready, and takes them out of it, each with its place: what became
// of it must be told by wrote or again. Until then it is not given again. When it gives none the pass has seen all, and the next
// begins anew.
func (r *routes) take(limit int, ready func(kstate.RouteKey, routePair) bool, give func(kstate.RouteKey, routePair, uint32)) {
	n := take(r, &r.four, limit, r.unpack4, ready, give)
	n += take(r, &r.six, limit-n, r.unpack6, ready, give)
	if n == 0 {
		r.unready = r.four.later.n + r.six.later.n
		r.rewind()
	}
}

func take[K routeID](r *routes, b *book[K], limit int, unpack func(K) kstate.RouteKey, ready func(kstate.RouteKey, routePair) bool, give func(kstate.RouteKey, routePair, uint32)) int {
	n := 0
	for n < limit && b.queue.n > 0 {
		place := b.queue.next()
		p := b.at(place)
		if p.agrees() {
			p.queued = false
			b.tidy(place)
			continue
		}
		key := unpack(p.key)
		if p.taken || !ready(key, p.routePair) {
			b.later.add(level(r, p), place)
			continue
		}
		p.queued, p.taken = false, true
		give(key, p.routePair, place)
		n++
	}
	return n
}

// rewind begins a pass over all that is queued.
func (r *routes) rewind() {
	r.four.queue.addAll(&r.four.later)
	r.six.queue.addAll(&r.six.later)
}
