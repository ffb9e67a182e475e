package kstate

import (
	"fmt"
	"net/netip"
)

// RouteType is what the kernel does with a packet that a route matches.
type RouteType uint8

// Route types, with the kernel's numbers (RTN_*).
const (
	Unicast   RouteType = 1
	Blackhole RouteType = 6
	Throw     RouteType = 9
)

func (t RouteType) String() string {
	switch t {
	case Unicast:
		return "unicast"
	case Blackhole:
		return "blackhole"
	case Throw:
		return "throw"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// RouteKey is what makes two of our routes the same route: the kernel holds one per table, prefix and metric.
type RouteKey struct {
	Table  uint32
	Prefix netip.Prefix // masked
	Metric uint32
}

// Route is a route of ours: it points at a group, or it is a blackhole or a throw.
type Route struct {
	RouteKey
	Type    RouteType
	Nexthop NexthopID // 0 unless Unicast
}

// String prints the route as ip's arguments.
func (r Route) String() string {
	head := r.Prefix.String()
	if r.Type != Unicast {
		head = r.Type.String() + " " + head
	}
	if r.Nexthop != 0 {
		head += fmt.Sprintf(" nhid %d", r.Nexthop)
	}
	return fmt.Sprintf("route %s table %d metric %d proto %d", head, r.Table, r.Metric, Protocol)
}

// RouteChange is a step of a stream of routes.
type RouteChange struct {
	Delete bool
	// Follows: without the route packets go the same way, by what covers it. It may come after all others.
	Follows bool
	Route   Route
}
