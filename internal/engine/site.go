package engine

import (
	"net/netip"
	"slices"
	"time"

	"bothways/internal/config"
	"bothways/internal/fib"
	"bothways/internal/kstate"
	"bothways/internal/nat"
	"bothways/internal/policy"
	"bothways/internal/rib"
	"bothways/internal/route"
	"bothways/internal/track"
)

// link is a link with what is known of it now.
type link struct {
	config.Link
	number route.Link
	path   *config.Path
	order  int // of the path

	index   int // of the interface; 0: missing
	carrier bool
	gateway Gateways // found, for links that take theirs from others
	found   [2][]netip.Addr
	tracks  track.Link
	imports [2]*policy.Import
	session [2]sessionState
	// answers is when the neighbor was last seen to answer, by family.
	answers [2]time.Time
	ways    [2]linkWay
	streams [2]track.Stream
}

// sessionState is what the engine knows of a session.
type sessionState struct {
	up          bool
	complete    bool // it has said everything since it came up
	ends        bool // it says so with an End-of-RIB
	stale       bool
	level       policy.LimitLevel
	refreshing  bool
	draining    string // by what the provider drains the link; "": it does not
	taken       bool   // it stood before this daemon; what it said before is to be said again
	repeating   bool   // that has begun
	absent      bool   // it was down before this daemon, and nothing of it was kept
	expected    int    // how many prefixes the daemon before knew of it
	sparing     bool   // stale routes are held although the neighbor has said everything
	held        *held
	lost        map[netip.Prefix]lost // taken back within policy.HoldWindow
	stagedSince time.Time             // the first of what waits for the rest of the table
	said        bool                  // nothing came behind its last End-of-RIB, sent or taken from its silence
	order       []lostAt              // the oldest first; what is not in lost any more may still be here
}

func at(f route.Family) int { return int(f - route.IPv4) }

// speaks reports whether the link has a session in the family.
func (l *link) speaks(f route.Family) bool { return l.BGP && l.Neighbor(f).IsValid() }

// hop is where packets for the link go: the neighbor, or the gateway that was found; an invalid address where the interface
// is enough. ok is false while there is no way.
func (l *link) hop(f route.Family) (netip.Addr, bool) {
	if n := l.Neighbor(f); n.IsValid() {
		return n, true
	}
	if g := l.gateway.Of(f); l.AutoGateway && g.Default {
		return g.Address, true
	}
	return netip.Addr{}, false
}

// usable says in which families the link may carry traffic.
func (l *link) usable() (u [2]bool) {
	for _, f := range route.Families() {
		_, ok := l.hop(f)
		u[at(f)] = ok && l.index != 0 && l.tracks.Usable(f)
	}
	return u
}

// static reports whether the link brings a default of its own in the family.
func (l *link) static(f route.Family) bool {
	_, ok := l.hop(f)
	return !l.BGP && ok
}

// numberLinks gives every link its number: the one that its interface had before, else the lowest free one. Numbers are
// the marks of living connections, so a link keeps its number while it has its interface.
//
// Numbers above limit are the marks of steer rules. What others had before is given out last: connections may still bear
// it.
func numberLinks(links []config.Link, before map[string]route.Link, limit int) map[string]route.Link {
	out := map[string]route.Link{}
	var taken, used route.LinkSet
	for _, n := range before {
		used.Add(n)
	}
	for _, l := range links {
		if n, ok := before[l.Interface]; ok && n != 0 && int(n) <= limit && !taken.Has(n) {
			out[l.Interface] = n
			taken.Add(n)
		}
	}
	free := func(avoid route.LinkSet) route.Link {
		for n := 1; n <= limit; n++ {
			if l := route.Link(n); !taken.Has(l) && !avoid.Has(l) {
				return l
			}
		}
		return 0
	}
	for _, l := range links {
		if _, ok := out[l.Interface]; ok {
			continue
		}
		n := free(used)
		if n == 0 {
			n = free(route.LinkSet{})
		}
		out[l.Interface] = n
		taken.Add(n)
	}
	return out
}

// numberLimit is the highest number that a link may have beside the rules that have marks of their own.
func numberLimit(c *config.Config) int { return kstate.MaxLinks - selective(c) - c.ReplyLinks() }

func allLinks(c *config.Config) []config.Link {
	var out []config.Link
	for _, p := range c.Paths {
		out = append(out, p.Links...)
	}
	return out
}

// build makes the links of a configuration, taking over what is known of those that stay.
func build(c *config.Config, numbers map[string]route.Link, before []*link) []*link {
	var out []*link
	for i := range c.Paths {
		p := &c.Paths[i]
		for _, cl := range p.Links {
			l := &link{Link: cl, number: numbers[cl.Interface], path: p, order: i}
			for _, old := range before {
				if old.FullName() == l.FullName() && old.Interface == l.Interface {
					l.index, l.carrier, l.gateway, l.tracks, l.session = old.index, old.carrier, old.gateway, old.tracks, old.session
					l.answers, l.ways, l.streams, l.found = old.answers, old.ways, old.streams, old.found
				}
			}
			for _, f := range route.Families() {
				l.imports[at(f)] = policy.NewImport(policy.Params{
					Accept: p.Accept, Circuit: p.Provider.Circuit, OwnAS: c.ASN, NeighborAS: cl.ASN,
					Neighbors: []netip.Addr{cl.Neighbor(f)}, AnyNextHop: cl.AnyNextHop, Role: cl.Role, Own: c.Own(),
				})
			}
			out = append(out, l)
		}
	}
	return out
}

func (l *link) params(f route.Family, routerID netip.Addr) rib.LinkParams {
	order := slices.IndexFunc(l.path.Links, func(x config.Link) bool { return x.Name == l.Name })
	p := rib.LinkParams{
		Path: l.order, Order: order, Preference: l.path.Provider.Preference, Static: l.path.Provider.Static,
		RouterID: routerID, Neighbor: l.Neighbor(f),
	}
	if l.path.Preference != 0 {
		p.Preference, p.Static = l.path.Preference, l.path.Preference
	}
	return p
}

// fibParams translates the configuration for one family.
func fibParams(c *config.Config, links []*link, learned Learned, f route.Family, inside []fib.InsideRoute) fib.Params {
	p := fib.Params{Compress: c.Compress, Inside: inside, Replies: replyLinks(links)}
	for _, s := range c.Steer {
		fs := fib.Steer{Name: s.Name, Weights: s.Weights, Drop: s.Drop, Own: s.Selective(), All: len(s.To)+len(s.Learned) == 0}
		for _, to := range destinations(s, learned) {
			if route.FamilyOf(to.Addr()) == f {
				fs.To = append(fs.To, to)
			}
		}
		for _, tier := range s.Use {
			var sets []route.LinkSet
			for _, name := range tier {
				sets = append(sets, pathLinks(links, name))
			}
			fs.Use = append(fs.Use, sets)
		}
		p.Steer = append(p.Steer, fs)
	}
	for _, path := range c.Paths {
		p.Blackholes = append(p.Blackholes, path.Announce...)
		for _, e := range path.NAT {
			if e.Kind == nat.Pool {
				p.Blackholes = append(p.Blackholes, e.To)
			}
		}
	}
	p.Blackholes = slices.DeleteFunc(p.Blackholes, func(q netip.Prefix) bool {
		return route.FamilyOf(q.Addr()) != f || q.Bits() == 0
	})
	slices.SortFunc(p.Blackholes, route.ComparePrefix)
	p.Blackholes = slices.Compact(p.Blackholes)
	return p
}

// insideHops are the nexthops of routers inside, and the networks behind them, for interfaces that exist.
func insideHops(c *config.Config, interfaces []kstate.Interface, f route.Family) ([]kstate.Nexthop, []fib.InsideRoute) {
	var hops []kstate.Nexthop
	var routes []fib.InsideRoute
	for i, r := range c.Inside.Routes {
		if route.FamilyOf(r.Network.Addr()) != f {
			continue
		}
		for _, in := range interfaces {
			on := slices.ContainsFunc(in.Addresses, func(a netip.Prefix) bool { return a.Contains(r.Via) })
			if !on || !in.Carrier || !slices.Contains(c.Inside.Interfaces, in.Name) {
				continue
			}
			hops = append(hops, kstate.Nexthop{ID: fib.InsideNexthop(i), Family: f, Interface: in.Index, Gateway: r.Via})
			routes = append(routes, fib.InsideRoute{Network: r.Network, Nexthop: fib.InsideNexthop(i)})
			break
		}
	}
	return hops, routes
}

// natParams translates the configuration for the nftables table.
func natParams(c *config.Config, links []*link, learned Learned) nat.Params {
	p := nat.Params{Mask: c.Mark, Observe: c.Observe, Inside: c.Inside.Interfaces, Networks: c.Inside.Networks}
	replies := replyLinks(links)
	for _, l := range links {
		n := nat.Link{Number: l.number, Name: l.FullName(), Interface: l.Interface, Entries: l.path.NAT, Publish: l.path.Publish, Loose: l.path.Loose, BFD: l.BFD != nil, Circuit: l.path.Provider.Circuit}
		for _, f := range route.Families() {
			if l.speaks(f) {
				n.Neighbors = append(n.Neighbors, l.Neighbor(f))
			}
			n.Addresses = append(n.Addresses, l.own(f)...)
		}
		if i := slices.Index(replies, l.number); i >= 0 {
			n.Reply = fib.ReplyMark(selective(c), i, c.Mark)
		}
		list := provenAddresses(l.path, l)
		tokens := proofTokens(list)
		for _, x := range list {
			if t, ok := tokens[x.address]; ok {
				n.Proofs = append(n.Proofs, nat.Proof{Address: x.address, Token: t})
			}
		}
		p.Links = append(p.Links, n)
	}
	own := 0
	for i, s := range c.Steer {
		ns := nat.Steer{Name: s.Name, From: s.From, To: destinations(s, learned), Protocol: s.Protocol, Ports: s.Ports, DSCP: s.DSCP, Sticky: s.Sticky}
		if s.Selective() {
			ns.Mark = fib.SteerMark(own, c.Mark)
			own++
		}
		for _, l := range links {
			if _, ok := s.Limit[l.Path]; ok {
				ns.Limits = append(ns.Limits, nat.Limit{Link: l.number, Minor: classOf(i)})
			}
		}
		// A rule for what a path learned matches nothing while nothing was learned.
		if len(ns.To) > 0 || len(s.Learned) == 0 {
			p.Steer = append(p.Steer, ns)
		}
	}
	return p
}

// classOf is the minor number of the class of the i-th steer rule.
func classOf(i int) uint16 { return uint16(i + 1) }

// shapers are the limits of each link, also of those that have none: what an earlier configuration left is taken away.
func shapers(c *config.Config, links []*link) []kstate.Shaper {
	var out []kstate.Shaper
	for _, l := range links {
		if l.index == 0 {
			continue
		}
		s := kstate.Shaper{Interface: l.index, Take: l.path.Take}
		for i, rule := range c.Steer {
			if rate, ok := rule.Limit[l.Path]; ok {
				s.Classes = append(s.Classes, kstate.Class{Minor: classOf(i), Rate: rate})
			}
		}
		out = append(out, s)
	}
	return out
}

func pathLinks(links []*link, path string) route.LinkSet {
	var set route.LinkSet
	for _, l := range links {
		if l.Path == path {
			set.Add(l.number)
		}
	}
	return set
}

// destinations are a rule's own and those that paths learned.
func destinations(s config.Steer, learned Learned) []netip.Prefix {
	to := slices.Clone(s.To)
	for _, path := range s.Learned {
		to = append(to, learned[path]...)
	}
	slices.SortFunc(to, route.ComparePrefix)
	return slices.Compact(to)
}

// selective counts the rules that have a table of their own.
func selective(c *config.Config) int {
	n := 0
	for _, s := range c.Steer {
		if s.Selective() {
			n++
		}
	}
	return n
}

// sessions are what the speaker shall run.
func sessions(c *config.Config, links []*link, restarting bool) []SessionParams {
	var out []SessionParams
	for _, l := range links {
		for _, f := range route.Families() {
			if !l.speaks(f) {
				continue
			}
			s := SessionParams{
				Key: SessionKey{l.FullName(), f}, LocalAS: c.ASN, NeighborAS: l.ASN, RouterID: c.RouterID,
				Local: l.Address(f).Addr(), Neighbor: l.Neighbor(f), Interface: l.Interface, Hold: l.Hold,
				Passive: l.Passive, Password: l.Password, TTLSecurity: l.TTLSecurity, Role: l.Role,
				StrictRole: l.StrictRole, GracefulRestart: l.GracefulRestart, Restarting: restarting,
			}
			for _, p := range l.path.Announce {
				if route.FamilyOf(p.Addr()) == f {
					s.Announce = append(s.Announce, route.Announcement{Prefix: p, Prepend: l.path.Prepend})
				}
			}
			out = append(out, s)
		}
	}
	return out
}

// replyLinks are the links that may be asked by hosts which they have no route to: those of circuits.
func replyLinks(links []*link) []route.Link {
	var out []route.Link
	for _, l := range links {
		if l.path.Provider.Circuit {
			out = append(out, l.number)
		}
	}
	return out
}

// orphans are the numbers of interfaces that no link has any more.
func orphans(before, now map[string]route.Link) []route.Link {
	var out []route.Link
	for name, n := range before {
		if now[name] != n && n != 0 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}
