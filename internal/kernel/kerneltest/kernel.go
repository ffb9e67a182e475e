package kerneltest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// Kernel is a kernel with interfaces, nexthops, routes and rules. The zero value is not usable; see New.
type Kernel struct {
	mu         sync.Mutex // guards all that follows: a test changes the kernel under the loop that it tests
	interfaces map[int]kstate.Interface
	nexthops   map[kstate.NexthopID]kstate.Nexthop
	routes     map[kstate.RouteKey]kstate.Route
	rules      map[kstate.Rule]bool
	fail       func(kstate.Change) error
	readErr    error
	applied    []kstate.Change
	deaf       bool
}

// New returns a kernel with the interfaces.
func New(interfaces ...kstate.Interface) *Kernel {
	k := &Kernel{
		interfaces: map[int]kstate.Interface{},
		nexthops:   map[kstate.NexthopID]kstate.Nexthop{},
		routes:     map[kstate.RouteKey]kstate.Route{},
		rules:      map[kstate.Rule]bool{},
	}
	for _, i := range interfaces {
		k.SetInterface(i)
	}
	return k
}

// SetInterface adds or changes an interface. Where it has no carrier, or is down, all nexthops on it go, and with them
// the groups that they leave empty and the routes on what went. Nobody is told, and nothing comes back by itself.
func (k *Kernel) SetInterface(i kstate.Interface) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.interfaces[i.Index] = i
	if i.Carrier && i.AdminUp {
		return
	}
	for id, n := range k.nexthops {
		if !n.Group() && n.Interface == i.Index {
			k.deleteNexthop(id)
		}
	}
}

// SetCarrier changes an interface's carrier, with what follows from it.
func (k *Kernel) SetCarrier(index int, carrier bool) {
	k.mu.Lock()
	i := k.interfaces[index]
	k.mu.Unlock()
	i.Carrier = carrier
	k.SetInterface(i)
}

// Fail makes Apply refuse each change for which fn returns an error, until it is called again with nil.
func (k *Kernel) Fail(fn func(kstate.Change) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = fn
}

// FailReads makes every read return err, until it is called again with nil.
func (k *Kernel) FailReads(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.readErr = err
}

// Applied returns the changes that were tried since the last call, in their order.
func (k *Kernel) Applied() []kstate.Change {
	k.mu.Lock()
	defer k.mu.Unlock()
	applied := k.applied
	k.applied = nil
	return applied
}

// HearRoutes changes what Deaf says.
func (k *Kernel) HearRoutes(hear bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deaf = !hear
	return nil
}

// Deaf reports whether nobody wants to hear what others do to routes.
func (k *Kernel) Deaf() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.deaf
}

// Apply makes the changes, as kernel/rtnl does.
func (k *Kernel) Apply(ctx context.Context, changes []kstate.Change) []kstate.Failure {
	k.mu.Lock()
	defer k.mu.Unlock()
	var failures []kstate.Failure
	for _, c := range changes {
		err := ctx.Err()
		if err == nil {
			if c.Route != nil {
				r := *c.Route // the caller's to use again
				c.Route = &r
			}
			k.applied = append(k.applied, c)
			if k.fail != nil {
				err = k.fail(c)
			}
		}
		if err == nil {
			err = k.apply(c)
		}
		if err != nil {
			failures = append(failures, kstate.Failure{Change: c, Err: fmt.Errorf("%s: %w", c, err)})
		}
	}
	return failures
}

func (k *Kernel) apply(c kstate.Change) error {
	put := c.Verb == kstate.Put
	switch {
	case c.Nexthop != nil && put:
		return k.putNexthop(*c.Nexthop)
	case c.Nexthop != nil:
		k.deleteNexthop(c.Nexthop.ID)
	case c.Route != nil && put:
		return k.putRoute(*c.Route)
	case c.Route != nil:
		delete(k.routes, c.Route.RouteKey)
	case c.Rule != nil && put:
		k.rules[*c.Rule] = true
	case c.Rule != nil:
		k.deleteRule(*c.Rule)
	default:
		return unix.EINVAL
	}
	return nil
}

func (k *Kernel) putNexthop(n kstate.Nexthop) error {
	if !n.ID.Ours() {
		return fmt.Errorf("id is not ours")
	}
	if old, ok := k.nexthops[n.ID]; ok && old.Group() != n.Group() {
		return fmt.Errorf("can not replace a nexthop group with a nexthop, or the other way round (%w)", unix.EINVAL)
	}
	if !n.Group() {
		i, ok := k.interfaces[n.Interface]
		switch {
		case !ok:
			return fmt.Errorf("invalid device index (%w)", unix.EINVAL)
		case !i.AdminUp || !i.Carrier:
			return fmt.Errorf("nexthop device is not up, or has no carrier (%w)", unix.ENETDOWN)
		case n.Family == 0:
			return unix.EINVAL
		}
		k.nexthops[n.ID] = n
		return nil
	}
	n.Members = slices.Clone(n.Members)
	slices.SortFunc(n.Members, func(a, b kstate.Member) int { return cmp.Compare(a.ID, b.ID) })
	for i, m := range n.Members {
		single, ok := k.nexthops[m.ID]
		if !ok || single.Group() || i > 0 && n.Members[i-1].ID == m.ID || m.Weight < 1 || m.Weight > 256 {
			return fmt.Errorf("invalid member %d (%w)", m.ID, unix.EINVAL)
		}
		n.Family = single.Family
	}
	k.nexthops[n.ID] = n
	return nil
}

// deleteNexthop deletes an object, its memberships, groups that become empty, and the routes on what is deleted.
func (k *Kernel) deleteNexthop(id kstate.NexthopID) {
	delete(k.nexthops, id)
	maps.DeleteFunc(k.routes, func(_ kstate.RouteKey, r kstate.Route) bool { return r.Nexthop == id })
	for gid, g := range k.nexthops {
		if !slices.ContainsFunc(g.Members, func(m kstate.Member) bool { return m.ID == id }) {
			continue
		}
		g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(m kstate.Member) bool { return m.ID == id })
		if len(g.Members) == 0 {
			k.deleteNexthop(gid)
			continue
		}
		k.nexthops[gid] = g
	}
}

func (k *Kernel) putRoute(r kstate.Route) error {
	if r.Table < kstate.Table || r.Metric == 0 || r.Prefix != r.Prefix.Masked() || (r.Type == kstate.Unicast) != (r.Nexthop != 0) {
		return unix.EINVAL
	}
	if r.Nexthop != 0 {
		n, ok := k.nexthops[r.Nexthop]
		if !ok {
			return fmt.Errorf("nexthop id does not exist (%w)", unix.EINVAL)
		}
		if route.FamilyOf(r.Prefix.Addr()) == route.IPv6 && n.Family == route.IPv4 {
			return fmt.Errorf("IPv6 routes can not use an IPv4 nexthop (%w)", unix.EINVAL)
		}
	}
	k.routes[r.RouteKey] = r
	return nil
}

// Nexthops returns all nexthops, sorted by id.
func (k *Kernel) Nexthops(ctx context.Context) ([]kstate.Nexthop, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := slices.SortedFunc(maps.Values(k.nexthops), func(a, b kstate.Nexthop) int { return cmp.Compare(a.ID, b.ID) })
	for i := range all {
		all[i].Members = slices.Clone(all[i].Members)
	}
	return all, cmp.Or(ctx.Err(), k.readErr)
}

// Routes gives fn every route, in order. fn may change the kernel.
func (k *Kernel) Routes(ctx context.Context, fn func(kstate.Route) error) error {
	k.mu.Lock()
	all, err := k.sortedRoutes(), cmp.Or(ctx.Err(), k.readErr)
	k.mu.Unlock()
	for _, r := range all {
		if err != nil {
			return err
		}
		err = fn(r)
	}
	return err
}

func (k *Kernel) sortedRoutes() []kstate.Route {
	return slices.SortedFunc(maps.Values(k.routes), func(a, b kstate.Route) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), route.ComparePrefix(a.Prefix, b.Prefix), cmp.Compare(a.Metric, b.Metric))
	})
}

// deleteRule deletes one that matches what r says: where it does not say an interface, any does. The kernel takes the oldest, this the
// one that hurts.
func (k *Kernel) deleteRule(r kstate.Rule) {
	if local := r; !r.Local {
		local.Local = true
		if k.rules[local] {
			delete(k.rules, local)
			return
		}
	}
	delete(k.rules, r)
}

// Rules returns all rules, by family and priority.
func (k *Kernel) Rules(ctx context.Context) ([]kstate.Rule, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sortedRules(), cmp.Or(ctx.Err(), k.readErr)
}

func (k *Kernel) sortedRules() []kstate.Rule {
	return slices.SortedFunc(maps.Keys(k.rules), func(a, b kstate.Rule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Mark, b.Mark), cmp.Compare(a.Table, b.Table))
	})
}

// Interfaces returns all interfaces, by index.
func (k *Kernel) Interfaces(ctx context.Context) ([]kstate.Interface, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := slices.SortedFunc(maps.Values(k.interfaces), func(a, b kstate.Interface) int { return cmp.Compare(a.Index, b.Index) })
	return all, cmp.Or(ctx.Err(), k.readErr)
}

// String prints rules, nexthops and routes as ip's lines, sorted.
func (k *Kernel) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	for _, r := range k.sortedRules() {
		fmt.Fprintln(&b, r)
	}
	for _, id := range slices.Sorted(maps.Keys(k.nexthops)) {
		fmt.Fprintln(&b, k.nexthops[id])
	}
	for _, r := range k.sortedRoutes() {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}
