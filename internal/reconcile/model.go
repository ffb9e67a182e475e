package reconcile

import (
	"context"
	"slices"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/plan"
)

// model is what is wanted beside what the kernel is known to hold. It belongs to the loop's goroutine.
type model struct {
	mode     plan.Mode
	more     bool // as in the last batch
	wanted   plan.Objects
	nexthops map[kstate.NexthopID]kstate.Nexthop
	puts     map[kstate.NexthopID]uint64 // when each was written, counted by written
	written  uint64
	rules    []kstate.Rule

	routes  routes
	lotSize int
	lots    []*lot                   // to be used again
	skip    map[kstate.RouteKey]bool // refused in this round: tried again in the next
	dead    []kstate.NexthopID
	reads   uint8 // of the kernel's routes; it may wrap

	ruleset      *kstate.Ruleset
	rulesetDone  string
	shapers      []kstate.Shaper
	shapersDone  map[int]string // by interface: what was set up, or refused
	sysctls      []kstate.Sysctl
	sysctlsDone  []kstate.Sysctl
	sysctlStatus []SysctlStatus

	agrees            bool
	compared          time.Time
	repaired, refused int
	// comparisons counts full ones, disagreed those that found something else than what is wanted.
	comparisons, disagreed int
	refusals               map[string]bool // told of, and not taken back since
	accepted               uint64          // sequence of the last batch taken
	sequence               uint64          // and of the last one that is in the kernel
	left                   int             // routes that differed when the last turn ended
	lastError              string
}

func newModel() model {
	return model{
		// Until the first batch says what is wanted, a hint must not make the loop write: it would want nothing, and
		// delete what an earlier daemon left.
		mode:     plan.Hold,
		nexthops: map[kstate.NexthopID]kstate.Nexthop{},
		puts:     map[kstate.NexthopID]uint64{},
		routes:   newRoutes(),
		lotSize:  maxBatch,
		refusals: map[string]bool{},
	}
}

func (m *model) objects() plan.Objects {
	o := plan.Objects{Rules: m.rules}
	for _, n := range m.nexthops {
		o.Nexthops = append(o.Nexthops, n)
	}
	return o
}

// accept takes a batch into what is wanted.
func (m *model) accept(b *plan.Batch) {
	m.mode, m.wanted, m.sysctls, m.dead = b.Mode, b.Objects, b.Sysctls, b.Dead
	m.accepted, m.more = b.Sequence, b.More
	m.shapers = b.Shapers
	if b.Ruleset != nil {
		m.ruleset = b.Ruleset
	}
	for _, index := range b.Lost {
		m.lose(index)
	}
	if b.Replace {
		m.routes.changeAll(func(p routePair) bool { return p.wantType != 0 }, func(p *routePair) { p.wantType, p.want = 0, 0 })
	}
	for i := range b.Routes {
		c := &b.Routes[i]
		m.routes.change(c.Route.RouteKey, func(p *routePair) {
			p.wantType, p.want, p.follows = c.Route.Type, c.Route.Nexthop, c.Follows
			if c.Delete {
				p.wantType, p.want = 0, 0
			}
		})
	}
}

// lose notes what the kernel does by itself when an interface loses its carrier: nexthops on it go, out of groups too,
// groups left empty go, and every route on what is gone. No event tells of it.
func (m *model) lose(index int) {
	gone := map[kstate.NexthopID]bool{}
	for id, n := range m.nexthops {
		if !n.Group() && n.Interface == index {
			gone[id] = true
		}
	}
	m.drop(gone)
}

func (m *model) drop(gone map[kstate.NexthopID]bool) {
	if len(gone) == 0 {
		return
	}
	for id, n := range m.nexthops {
		if !n.Group() {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(n.Members), func(x kstate.Member) bool { return gone[x.ID] })
		if len(rest) == 0 {
			gone[id] = true
		} else if len(rest) < len(n.Members) {
			n.Members = rest
			m.nexthops[id] = n
		}
	}
	for id := range gone {
		delete(m.nexthops, id)
		delete(m.puts, id)
	}
	m.routes.changeAll(func(p routePair) bool { return p.haveType == kstate.Unicast && gone[p.have] }, (*routePair).lost)
}

// done notes a change that the kernel took.
func (m *model) done(c kstate.Change) {
	switch {
	case c.Nexthop != nil && c.Verb == kstate.Delete:
		m.drop(map[kstate.NexthopID]bool{c.Nexthop.ID: true})
	case c.Nexthop != nil:
		m.written++
		m.nexthops[c.Nexthop.ID], m.puts[c.Nexthop.ID] = *c.Nexthop, m.written
	case c.Rule != nil && c.Verb == kstate.Delete:
		m.rules = slices.DeleteFunc(m.rules, func(r kstate.Rule) bool { return r == *c.Rule })
	case c.Rule != nil:
		if !slices.Contains(m.rules, *c.Rule) {
			m.rules = append(m.rules, *c.Rule)
		}
	}
}

// lot is routes to write or to delete, each with its place in the book.
type lot struct {
	changes []kstate.Change
	places  []uint32
	routes  []kstate.Route
}

// newLot is an empty lot with room for lotSize routes. Its room is used again after free.
func (m *model) newLot() *lot {
	if n := len(m.lots); n > 0 {
		l := m.lots[n-1]
		m.lots = m.lots[:n-1]
		return l
	}
	return &lot{make([]kstate.Change, 0, m.lotSize), make([]uint32, 0, m.lotSize), make([]kstate.Route, 0, m.lotSize)}
}

func (m *model) free(l *lot) {
	l.changes, l.places, l.routes = l.changes[:0], l.places[:0], l.routes[:0]
	m.lots = append(m.lots, l)
}

// add adds a change, for which there must be room.
func (l *lot) add(v kstate.Verb, r kstate.Route, place uint32) {
	l.routes, l.places = append(l.routes, r), append(l.places, place)
	l.changes = append(l.changes, kstate.Change{Verb: v, Route: &l.routes[len(l.routes)-1]})
}

// dirtyPuts collects routes to write whose nexthop the kernel holds. None: there are no more.
func (m *model) dirtyPuts() *lot {
	out := m.newLot()
	m.routes.take(m.lotSize, func(key kstate.RouteKey, p routePair) bool {
		return p.wantType != 0 && !m.skip[key] && (p.wantType != kstate.Unicast || m.holds(p.want))
	}, func(key kstate.RouteKey, p routePair, place uint32) {
		out.add(kstate.Put, kstate.Route{RouteKey: key, Type: p.wantType, Nexthop: p.want}, place)
	})
	return out
}

func (m *model) holds(id kstate.NexthopID) bool {
	_, ok := m.nexthops[id]
	return ok
}

// dirtyDeletes collects routes that are wanted no longer, or with a nexthop that shall not exist now, as none of its links can be
// used: what the kernel still has for those is a way that nobody decided on. Only those with this metric or a
// higher one: the last way of a prefix goes first, since where a shorter prefix leads on it must not be found alone.
func (m *model) dirtyDeletes(metric uint32) *lot {
	out := m.newLot()
	nexthops := map[kstate.NexthopID]bool{}
	for _, n := range m.wanted.Nexthops {
		nexthops[n.ID] = true
	}
	m.routes.take(m.lotSize, func(key kstate.RouteKey, p routePair) bool {
		return key.Metric >= metric && p.haveType != 0 && (p.wantType == 0 || p.wantType == kstate.Unicast && !nexthops[p.want]) && !m.skip[key]
	}, func(key kstate.RouteKey, p routePair, place uint32) {
		out.add(kstate.Delete, kstate.Route{RouteKey: key, Type: p.haveType, Nexthop: p.have}, place)
	})
	return out
}

// steps lead from what the kernel holds to what is wanted, but for routes.
func (m *model) steps() plan.Steps {
	want := m.wanted
	if m.mode == plan.Adopt {
		want.Nexthops = slices.DeleteFunc(slices.Clone(want.Nexthops), func(n kstate.Nexthop) bool { return m.deadSingle(n.ID) })
	}
	return plan.Diff(m.objects(), want)
}

// deadSingles are changes that take dead links out of groups of an earlier daemon, which this one does not know yet.
// Groups that are wanted have been put without them, unless there is no other target.
func (m *model) deadSingles() []kstate.Change {
	var out []kstate.Change
	for _, id := range m.dead {
		if n, ok := m.nexthops[id]; ok && m.deadSingle(id) {
			out = append(out, kstate.DeleteNexthop(n))
		}
	}
	return out
}

// deadSingle reports whether a nexthop is of a dead link, and no group that is wanted uses it.
func (m *model) deadSingle(id kstate.NexthopID) bool {
	return slices.Contains(m.dead, id) && !slices.ContainsFunc(m.wanted.Nexthops, func(g kstate.Nexthop) bool {
		return slices.ContainsFunc(g.Members, func(x kstate.Member) bool { return x.ID == id })
	})
}

// read replaces what is known of the kernel by what it says, and forgets what is wanted of routes.
func (m *model) read(ctx context.Context, k Kernel) error {
	m.routes = newRoutes()
	_, err := m.reread(ctx, k, func() error { return nil })
	return err
}

// askEvery is after how many routes that were read it is asked whether to go on.
const askEvery = 512

// reread replaces what is known of the kernel by what it says, and returns the routes that differ from what was known. goOn is
// asked meanwhile; where it gives an error, nothing is replaced.
func (m *model) reread(ctx context.Context, k Kernel, goOn func() error) (drift []string, err error) {
	nexthops, err := k.Nexthops(ctx)
	if err != nil {
		return nil, err
	}
	rules, err := k.Rules(ctx)
	if err != nil {
		return nil, err
	}
	if m.reads++; m.reads == 0 { // what was never seen has 0
		m.reads++
	}
	var other []kstate.Route // than was known; nothing changes before all is read
	read, known := 0, 0
	mark := func(p *routePair) {
		known += one(p.seen != m.reads)
		p.seen = m.reads
	}
	err = k.Routes(ctx, func(r kstate.Route) error {
		if read++; read%askEvery == 0 {
			if err := goOn(); err != nil {
				return err
			}
		}
		same := false
		m.routes.change(r.RouteKey, func(p *routePair) {
			same = p.haveType == r.Type && p.have == r.Nexthop
			if p.haveType != 0 {
				mark(p)
			}
		})
		if !same {
			other = append(other, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.rules = rules
	m.nexthops = make(map[kstate.NexthopID]kstate.Nexthop, len(nexthops))
	for _, n := range nexthops {
		m.nexthops[n.ID] = n
	}
	if known < m.routes.there {
		missing := func(p routePair) bool { return p.haveType != 0 && p.seen != m.reads }
		m.routes.each(func(key kstate.RouteKey, p routePair) {
			if missing(p) {
				drift = append(drift, "missing "+kstate.Route{RouteKey: key, Type: p.haveType, Nexthop: p.have}.String())
			}
		})
		m.routes.changeAll(missing, (*routePair).lost)
	}
	for _, r := range other {
		drift = append(drift, "unexpected "+r.String())
		m.routes.change(r.RouteKey, func(p *routePair) { p.haveType, p.have, p.seen = r.Type, r.Nexthop, m.reads })
	}
	slices.Sort(drift)
	return drift, nil
}
