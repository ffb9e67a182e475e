package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"bothways/internal/flow"
	"bothways/internal/nat"
	"bothways/internal/route"
)

// Looking at every connection has its price: it is done where an address may be near its end at all, and not often.
const (
	useFrom  = flow.PortsPerAddress / 4
	useEvery = time.Minute
	useShown = 16
)

// fill is what is known of the table of connections, and of the addresses that they are translated to.
type fill struct {
	count, limit int
	level        flow.Level
	looked       time.Time
	use          map[moveKey][]flow.Usage
	levels       map[useKey]flow.Level
}

// useKey names an address of a link with a protocol, as a whole or to one remote end.
type useKey struct {
	of       moveKey
	address  netip.Addr
	protocol uint8
	remote   bool
}

// filled takes how many connections there are.
func (e *Engine) filled(ev Filled) {
	e.changed = e.changed || e.fill.count != ev.Count || e.fill.limit != ev.Limit
	e.fill.count, e.fill.limit = ev.Count, ev.Limit
	before := e.fill.level
	e.fill.level = flow.LevelOf(before, ev.Count, ev.Limit)
	if e.fill.level != before {
		text := fmt.Sprintf("the table of connections is %s: %d of %d", e.fill.level, ev.Count, ev.Limit)
		if e.fill.level == flow.Full {
			text += "; new connections are dropped, sessions and what is not tracked go on: raise net.netfilter.nf_conntrack_max"
		}
		e.note("alarm", "conntrack", text)
	}
	if ev.Count < useFrom {
		// No address can be near its end any more, and nobody is asked.
		for of := range e.fill.use {
			e.used(FlowsUsed{Mark: e.flowMark(of.link, of.family)})
		}
		clear(e.fill.use)
		return
	}
	if e.now.Sub(e.fill.looked) < useEvery {
		return
	}
	e.fill.looked = e.now
	for _, l := range e.links {
		for _, f := range route.Families() {
			if slices.ContainsFunc(l.path.NAT, func(x nat.Entry) bool {
				return route.FamilyOf(x.Network.Addr()) == f && (x.Kind == nat.Pool || x.Kind == nat.Interface)
			}) {
				e.deps.Flows.Use(e.flowMark(l.number, f), useShown)
			}
		}
	}
}

// used takes how full the addresses of a link are.
func (e *Engine) used(ev FlowsUsed) {
	if e.fill.use == nil {
		e.fill.use, e.fill.levels = map[moveKey][]flow.Usage{}, map[useKey]flow.Level{}
	}
	of := moveKey{ev.Mark.Link, ev.Mark.Family}
	e.fill.use[of] = ev.Use
	e.changed = true
	for k := range e.fill.levels {
		// What is not among the fullest any more is not full.
		if k.of == of && !slices.ContainsFunc(ev.Use, func(u flow.Usage) bool { return u.Address == k.address && u.Protocol == k.protocol }) {
			ev.Use = append(ev.Use, flow.Usage{Address: k.address, Protocol: k.protocol})
		}
	}
	link := e.names([]route.Link{ev.Mark.Link})[0]
	for _, u := range ev.Use {
		for _, x := range []struct {
			key  useKey
			n    int
			what string
		}{
			{useKey{of, u.Address, u.Protocol, false}, u.Connections, "all its connections"},
			{useKey{of, u.Address, u.Protocol, true}, u.Busiest, fmt.Sprintf("its ports towards %s", u.Remote)},
		} {
			before := e.fill.levels[x.key]
			now := flow.LevelOf(before, x.n, flow.PortsPerAddress)
			if now == before {
				continue
			}
			e.fill.levels[x.key] = now
			if now == flow.Fine {
				delete(e.fill.levels, x.key)
			}
			text := fmt.Sprintf("%s of the pool is %s by %s: %d of %d (%s)", u.Address, now, x.what, x.n, flow.PortsPerAddress, protocolName(u.Protocol))
			if x.key.remote && now == flow.Full {
				text += "; more of them cannot be opened: give the path a larger pool"
			}
			e.note("alarm", link, text)
		}
	}
}

func protocolName(p uint8) string {
	if name, ok := map[uint8]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}[p]; ok {
		return name
	}
	return fmt.Sprintf("protocol %d", p)
}

// UseView is how full an address of a link's pool is.
type UseView struct {
	Link string
	flow.Usage
	Protocol string
	Of       int
	Level    flow.Level // of the worse of all its connections, and its ports towards one remote end
}

func (e *Engine) viewUse() []UseView {
	var out []UseView
	for _, l := range e.links {
		for _, f := range route.Families() {
			for _, u := range e.fill.use[moveKey{l.number, f}] {
				of := moveKey{l.number, f}
				level := max(e.fill.levels[useKey{of, u.Address, u.Protocol, false}], e.fill.levels[useKey{of, u.Address, u.Protocol, true}])
				out = append(out, UseView{l.FullName(), u, protocolName(u.Protocol), flow.PortsPerAddress, level})
			}
		}
	}
	return out
}
