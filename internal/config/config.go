package config

import (
	"net/netip"
	"path"
	"slices"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/nat"
	"bothways/internal/policy"
	"bothways/internal/provider"
	"bothways/internal/route"
)

// Config is a site. Paths, links and steer rules are in the order of the file, which is part of their meaning.
type Config struct {
	Site     string
	ASN      uint32
	RouterID netip.Addr
	// Mark is the mask of the byte of the packet and connection mark that is ours.
	Mark   uint32
	Inside Inside
	Paths  []Path
	Steer  []Steer
	API    API
	// State is the directory of what must outlive the daemon; empty: beside the socket.
	State string
	// Observe only counts what is asymmetric, instead of holding connections to their link.
	Observe bool
	// Compress leaves IPv4 routes out of the kernel that change nothing. IPv6 is always compressed.
	Compress bool
}

// Inside is the site's own side.
type Inside struct {
	Interfaces []string
	Networks   []netip.Prefix
	Routes     []InsideRoute
}

// InsideRoute is a network behind a router of the site's own.
type InsideRoute struct {
	Network netip.Prefix
	Via     netip.Addr
}

// Path is a named way out.
type Path struct {
	Name     string
	Provider provider.Profile
	Peering  string
	Capacity uint64 // bits a second; 0: not said
	Links    []Link
	Accept   policy.Accept
	Announce []netip.Prefix
	Prepend  int
	// Preference is the local preference; 0 takes the profile's.
	Preference uint32
	NAT        []nat.Entry
	Publish    []nat.Publish
	// Track are the probes of the path's links; nil: none.
	Track *Track
	// Prove is how their ways back are proven; nil: they are not.
	Prove *Prove
	// Take lets limits replace a root queueing discipline that is not ours.
	Take bool
	// Loose: connections on the path do not stick to their link.
	Loose bool
	// Shared allows a pool that another path announces too.
	Shared bool
	line   int
}

// Link is one adjacency of a path.
type Link struct {
	Path, Name string
	Interface  string
	// Address4 and Address6 are the link's own addresses with their subnets; invalid where the family is not used.
	Address4, Address6   netip.Prefix
	Neighbor4, Neighbor6 netip.Addr
	// Auto takes addresses from the interface; AutoGateway takes the neighbor from what DHCP, PPP or a router
	// advertisement set up. Both only without BGP.
	Auto, AutoGateway bool
	BGP               bool
	ASN               uint32
	Hold              time.Duration
	TTLSecurity       bool
	Passive           bool
	AnyNextHop        bool // next-hop: peer
	Role              policy.Role
	StrictRole        bool
	GracefulRestart   bool
	Password          []byte
	BFD               *BFD // nil: not spoken
	Limit             policy.Limit
	LastGood          policy.LastGood // of a set of routes that shrinks suddenly
	line              int
}

// FullName is the link's name with its path's: expressroute/primary.
func (l Link) FullName() string { return l.Path + "/" + l.Name }

// Address returns the link's own address in a family; invalid where it has none of its own in the file.
func (l Link) Address(f route.Family) netip.Prefix {
	if f == route.IPv4 {
		return l.Address4
	}
	return l.Address6
}

// Neighbor returns the link's neighbor in a family, invalid where it is not known from the file.
func (l Link) Neighbor(f route.Family) netip.Addr {
	if f == route.IPv4 {
		return l.Neighbor4
	}
	return l.Neighbor6
}

// Steer sets the ranking of some traffic. Where it says nothing of sources, protocol, ports or DSCP it is a rule for
// destinations alone.
type Steer struct {
	Name string
	From []netip.Prefix
	To   []netip.Prefix
	// Learned are paths: what each announces is a destination too.
	Learned []string
	// Protocol and Ports (of the destination) narrow it; 0 and none: any.
	Protocol kstate.L4Protocol
	Ports    []uint16
	DSCP     *uint8
	// Sticky keeps connections on the link that they were opened by; for destinations alone that are single hosts (pins)
	// the default is not to.
	Sticky bool
	// Limit bounds what leaves by a path under the rule, in bits a second.
	Limit map[string]uint64
	// Use lists tiers of paths by their name.
	Use [][]string
	// Weights are, beside Use, the share of each path in its tier; nil: equal shares.
	Weights [][]int
	// Hard: connections move at once when a better tier is back; otherwise they stay, and new ones take it.
	Hard bool
	// Drop: without a living link of Use traffic is dropped; otherwise what BGP says follows behind.
	Drop bool
	line int
}

// Selective reports whether the rule looks at more than the destination.
func (s Steer) Selective() bool {
	return len(s.From) > 0 || s.Protocol != 0 || len(s.Ports) > 0 || s.DSCP != nil
}

// Pin reports whether the rule is for single hosts only.
func (s Steer) Pin() bool {
	return len(s.Learned) == 0 && len(s.To) > 0 && !slices.ContainsFunc(s.To, func(p netip.Prefix) bool { return !p.IsSingleIP() })
}

// StateDir is the directory of what must outlive the daemon.
func (c *Config) StateDir() string {
	if c.State != "" {
		return c.State
	}
	return path.Dir(c.API.Socket)
}
