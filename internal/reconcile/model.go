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
	wanted   plan.Objects
	nexthops map[kstate.NexthopID]kstate.Nexthop
	rules    []kstate.Rule

	routes       map[kstate.RouteKey]routePair
	dirty        map[kstate.RouteKey]struct{}
	skip         map[kstate.RouteKey]bool // refused in this round: tried again in the next
	wantedRoutes int
	dead         []kstate.NexthopID

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
	refusals          map[string]bool // told of, and not taken back since
	accepted          uint64          // sequence of the last batch taken
	sequence          uint64          // and of the last one that is in the kernel
	lastError         string
}

// routePair is a route as wanted and as the kernel has it; a type of 0 means not at all.
type routePair struct {
	wantType, haveType kstate.RouteType
	want, have         kstate.NexthopID
}

func (p routePair) agrees() bool { return p.wantType == p.haveType && p.want == p.have }

func newModel() model {
	return model{
		// Until the first batch says what is wanted, a hint must not make the loop write: it would want nothing, and
		// delete what an earlier daemon left.
		mode:     plan.Hold,
		nexthops: map[kstate.NexthopID]kstate.Nexthop{},
		routes:   map[kstate.RouteKey]routePair{},
		dirty:    map[kstate.RouteKey]struct{}{},
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
	m.accepted = b.Sequence
	m.shapers = b.Shapers
	if b.Ruleset != nil {
		m.ruleset = b.Ruleset
	}
	for _, index := range b.Lost {
		m.lose(index)
	}
	if b.Replace {
		for key, p := range m.routes {
			p.wantType, p.want = 0, 0
			m.set(key, p)
		}
		m.wantedRoutes = 0
	}
	for _, c := range b.Routes {
		p := m.routes[c.Route.RouteKey]
		was := p.wantType != 0
		p.wantType, p.want = c.Route.Type, c.Route.Nexthop
		if c.Delete {
			p.wantType, p.want = 0, 0
		}
		switch is := p.wantType != 0; {
		case is && !was:
			m.wantedRoutes++
		case was && !is:
			m.wantedRoutes--
		}
		m.set(c.Route.RouteKey, p)
	}
}

func (m *model) set(key kstate.RouteKey, p routePair) {
	if p.agrees() {
		delete(m.dirty, key)
	} else {
		m.dirty[key] = struct{}{}
	}
	if p == (routePair{}) {
		delete(m.routes, key)
	} else {
		m.routes[key] = p
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
	}
	for key, p := range m.routes {
		if p.haveType == kstate.Unicast && gone[p.have] {
			p.haveType, p.have = 0, 0
			m.set(key, p)
		}
	}
}

// done notes a change that the kernel took.
func (m *model) done(c kstate.Change) {
	switch {
	case c.Nexthop != nil && c.Verb == kstate.Delete:
		m.drop(map[kstate.NexthopID]bool{c.Nexthop.ID: true})
	case c.Nexthop != nil:
		m.nexthops[c.Nexthop.ID] = *c.Nexthop
	case c.Rule != nil && c.Verb == kstate.Delete:
		m.rules = slices.DeleteFunc(m.rules, func(r kstate.Rule) bool { return r == *c.Rule })
	case c.Rule != nil:
		if !slices.Contains(m.rules, *c.Rule) {
			m.rules = append(m.rules, *c.Rule)
		}
	case c.Route != nil:
		p := m.routes[c.Route.RouteKey]
		p.haveType, p.have = c.Route.Type, c.Route.Nexthop
		if c.Verb == kstate.Delete {
			p.haveType, p.have = 0, 0
		}
		m.set(c.Route.RouteKey, p)
	}
}

// dirtyPuts collects routes to write whose nexthop the kernel holds.
func (m *model) dirtyPuts(limit int) []kstate.Change {
	var out []kstate.Change
	for key := range m.dirty {
		p := m.routes[key]
		if p.wantType == 0 || m.skip[key] || p.wantType == kstate.Unicast && !m.holds(p.want) {
			continue
		}
		out = append(out, kstate.PutRoute(kstate.Route{RouteKey: key, Type: p.wantType, Nexthop: p.want}))
		if len(out) == limit {
			break
		}
	}
	return out
}

func (m *model) holds(id kstate.NexthopID) bool {
	_, ok := m.nexthops[id]
	return ok
}

func (m *model) dirtyDeletes(limit int) []kstate.Change {
	var out []kstate.Change
	for key := range m.dirty {
		p := m.routes[key]
		if p.wantType != 0 || m.skip[key] {
			continue
		}
		out = append(out, kstate.DeleteRoute(kstate.Route{RouteKey: key, Type: p.haveType, Nexthop: p.have}))
		if len(out) == limit {
			break
		}
	}
	return out
}

// deadSingles are changes that take dead links out of groups of an earlier daemon, which this one does not know yet.
// Groups that are wanted have been put without them, unless there is no other target.
func (m *model) deadSingles() []kstate.Change {
	var out []kstate.Change
	for _, id := range m.dead {
		n, ok := m.nexthops[id]
		used := slices.ContainsFunc(m.wanted.Nexthops, func(g kstate.Nexthop) bool {
			return slices.ContainsFunc(g.Members, func(x kstate.Member) bool { return x.ID == id })
		})
		if ok && !used {
			out = append(out, kstate.DeleteNexthop(n))
		}
	}
	return out
}

// read replaces what is known of the kernel by what it says, and forgets what is wanted of routes.
func (m *model) read(ctx context.Context, k Kernel) error {
	m.routes, m.dirty, m.wantedRoutes = map[kstate.RouteKey]routePair{}, map[kstate.RouteKey]struct{}{}, 0
	_, err := m.reread(ctx, k)
	return err
}

// reread replaces what is known of the kernel by what it says, and returns the routes that differ from what was known.
func (m *model) reread(ctx context.Context, k Kernel) (drift []string, err error) {
	nexthops, err := k.Nexthops(ctx)
	if err != nil {
		return nil, err
	}
	rules, err := k.Rules(ctx)
	if err != nil {
		return nil, err
	}
	seen := make(map[kstate.RouteKey]kstate.Route, len(m.routes))
	if err := k.Routes(ctx, func(r kstate.Route) error { seen[r.RouteKey] = r; return nil }); err != nil {
		return nil, err
	}
	m.rules = rules
	m.nexthops = make(map[kstate.NexthopID]kstate.Nexthop, len(nexthops))
	for _, n := range nexthops {
		m.nexthops[n.ID] = n
	}
	for key, p := range m.routes {
		if _, ok := seen[key]; !ok && p.haveType != 0 {
			drift = append(drift, "missing "+kstate.Route{RouteKey: key, Type: p.haveType, Nexthop: p.have}.String())
			p.haveType, p.have = 0, 0
			m.set(key, p)
		}
	}
	for key, r := range seen {
		p := m.routes[key]
		if p.haveType == r.Type && p.have == r.Nexthop {
			continue
		}
		drift = append(drift, "unexpected "+r.String())
		p.haveType, p.have = r.Type, r.Nexthop
		m.set(key, p)
	}
	slices.Sort(drift)
	return drift, nil
}
