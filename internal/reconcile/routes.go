package reconcile

import (
	"encoding/binary"
	"net/netip"

	"bothways/internal/kstate"
)

// routePair is a route as wanted and as the kernel has it; a type of 0 means not at all.
type routePair struct {
	want, have         kstate.NexthopID
	wantType, haveType kstate.RouteType
	queued             bool  // it lies in the queue
	seen               uint8 // by the reading of this number
}

func (p routePair) agrees() bool { return p.wantType == p.haveType && p.want == p.have }

// lost notes that the kernel no longer has the route.
func (p *routePair) lost() { p.haveType, p.have = 0, 0 }

// none reports that the route is neither wanted nor there.
func (p routePair) none() bool { return p.wantType == 0 && p.haveType == 0 }

// routes holds all routes that are wanted or there, which may be a million and more, and queues those that disagree.
// A route costs some 30 bytes in IPv4.
type routes struct {
	four           book[key4]
	six            book[key6]
	spaces         []space
	numbers        map[space]uint16
	wanted, differ int
}

// space is a table with a metric: there are few.
type space struct{ table, metric uint32 }

type key4 struct {
	addr  uint32
	space uint16
	bits  uint8
}

type key6 struct {
	hi, lo uint64
	space  uint16
	bits   uint8
}

// book is the part of one family. What is in the queue has its mark, so that it is there once.
type book[K comparable] struct {
	pairs        map[K]routePair
	queue, later []K // later: looked at in this pass, and not taken
}

func newRoutes() routes {
	return routes{four: book[key4]{pairs: map[key4]routePair{}}, six: book[key6]{pairs: map[key6]routePair{}}, numbers: map[space]uint16{}}
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
	return key4{binary.BigEndian.Uint32(a[:]), r.number(k), uint8(k.Prefix.Bits())}
}

func (r *routes) pack6(k kstate.RouteKey) key6 {
	a := k.Prefix.Addr().As16()
	return key6{binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:]), r.number(k), uint8(k.Prefix.Bits())}
}

func (r *routes) unpack4(k key4) kstate.RouteKey {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], k.addr)
	return r.key(k.space, netip.PrefixFrom(netip.AddrFrom4(a), int(k.bits)))
}

func (r *routes) unpack6(k key6) kstate.RouteKey {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], k.hi)
	binary.BigEndian.PutUint64(a[8:], k.lo)
	return r.key(k.space, netip.PrefixFrom(netip.AddrFrom16(a), int(k.bits)))
}

func (r *routes) key(n uint16, p netip.Prefix) kstate.RouteKey {
	return kstate.RouteKey{Table: r.spaces[n].table, Prefix: p, Metric: r.spaces[n].metric}
}

func (r *routes) len() int { return len(r.four.pairs) + len(r.six.pairs) }

// change lets f change a route, which is zero where it is not known.
func (r *routes) change(k kstate.RouteKey, f func(*routePair)) {
	if k.Prefix.Addr().Is4() {
		change(r, &r.four, r.pack4(k), f)
	} else {
		change(r, &r.six, r.pack6(k), f)
	}
}

func change[K comparable](r *routes, b *book[K], k K, f func(*routePair)) {
	p := b.pairs[k]
	was := p
	f(&p)
	r.wanted += one(p.wantType != 0) - one(was.wantType != 0)
	r.differ += one(!p.agrees()) - one(!was.agrees())
	if !p.agrees() && !p.queued {
		p.queued = true
		b.queue = append(b.queue, k)
	}
	b.store(k, p)
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// store keeps a route as long as it is wanted, there, or in the queue.
func (b *book[K]) store(k K, p routePair) {
	if p.none() && !p.queued {
		delete(b.pairs, k)
	} else {
		b.pairs[k] = p
	}
}

// changeAll lets f change every route that match accepts.
func (r *routes) changeAll(match func(routePair) bool, f func(*routePair)) {
	for k, p := range r.four.pairs {
		if match(p) {
			change(r, &r.four, k, f)
		}
	}
	for k, p := range r.six.pairs {
		if match(p) {
			change(r, &r.six, k, f)
		}
	}
}

// each walks the routes.
func (r *routes) each(do func(kstate.RouteKey, routePair)) {
	for k, p := range r.four.pairs {
		do(r.unpack4(k), p)
	}
	for k, p := range r.six.pairs {
		do(r.unpack6(k), p)
	}
}

// take gives up to limit routes of the queue that disagree and are ready, and takes them out of it: what is not done
// then must be put back by again. When it gives none the pass has seen all, and the next begins anew.
func (r *routes) take(limit int, ready func(kstate.RouteKey, routePair) bool, give func(kstate.RouteKey, routePair)) {
	n := take(&r.four, limit, func(k key4, p routePair) bool { return ready(r.unpack4(k), p) }, func(k key4, p routePair) { give(r.unpack4(k), p) })
	n += take(&r.six, limit-n, func(k key6, p routePair) bool { return ready(r.unpack6(k), p) }, func(k key6, p routePair) { give(r.unpack6(k), p) })
	if n == 0 {
		r.rewind()
	}
}

func take[K comparable](b *book[K], limit int, ready func(K, routePair) bool, give func(K, routePair)) int {
	n := 0
	for n < limit && len(b.queue) > 0 {
		k := b.queue[0]
		b.queue = b.queue[1:]
		p := b.pairs[k]
		if !p.agrees() && !ready(k, p) {
			b.later = append(b.later, k)
			continue
		}
		p.queued = false
		b.store(k, p)
		if !p.agrees() {
			give(k, p)
			n++
		}
	}
	return n
}

// rewind begins a pass over all that is queued.
func (r *routes) rewind() {
	r.four.rewind()
	r.six.rewind()
}

func (b *book[K]) rewind() {
	if len(b.queue) == 0 {
		b.queue, b.later = b.later, nil
		return
	}
	b.queue, b.later = append(b.queue, b.later...), nil
}

// again puts a route that was taken back into the queue, if it still disagrees.
func (r *routes) again(k kstate.RouteKey) { r.change(k, func(*routePair) {}) }
