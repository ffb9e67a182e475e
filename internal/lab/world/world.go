package world

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// World is a site with everything around it.
type World struct {
	Name string `yaml:"name"`
	// EqualIndex gives both ends of each wire of the edge the same interface index: the kernel then treats their
	// carrier as it does a network card's.
	EqualIndex bool     `yaml:"equal-index"`
	Site       Site     `yaml:"site"`
	Paths      []Path   `yaml:"paths"`
	Routers    []Router `yaml:"routers"`
	// Cloud are the provider's hosts, behind all routers; Internet those behind the Internet's routers only.
	Cloud    []Host `yaml:"cloud"`
	Internet []Host `yaml:"internet"`
	// Steer are the edge's steer rules.
	Steer []Steer `yaml:"steer"`
}

// Site is the edge and what is inside.
type Site struct {
	Name      string         `yaml:"name"`
	ASN       uint32         `yaml:"asn"`
	RouterID  netip.Addr     `yaml:"router-id"`
	Interface string         `yaml:"interface"` // the edge's towards the inside
	Addresses []netip.Prefix `yaml:"addresses"` // the edge's there
	Networks  []netip.Prefix `yaml:"networks"`
	Hosts     []Host         `yaml:"hosts"`
	// Edge are further keys of the edge's configuration, as they stand in it.
	Edge map[string]string `yaml:"edge"`
}

// Host is a machine with addresses of its own.
type Host struct {
	Name      string       `yaml:"name"`
	Addresses []netip.Addr `yaml:"addresses"`
}

// Address returns the host's address of a family, invalid where it has none.
func (h Host) Address(v6 bool) netip.Addr {
	for _, a := range h.Addresses {
		if a.Is6() == v6 {
			return a
		}
	}
	return netip.Addr{}
}

// Path is a path of the edge's configuration.
type Path struct {
	Name     string                  `yaml:"name"`
	Provider string                  `yaml:"provider"`
	Peering  string                  `yaml:"peering"`
	Announce []netip.Prefix          `yaml:"announce"`
	NAT      map[netip.Prefix]string `yaml:"nat"`
	// Edge are further keys of the path in the edge's configuration.
	Edge map[string]string `yaml:"edge"`
}

// Side is which side of the provider a router stands on.
type Side string

// Sides.
const (
	Circuit  Side = "circuit"
	Internet Side = "internet"
)

// Router is the far end of a link of the edge.
type Router struct {
	Name      string         `yaml:"name"` // what services call it: circuit/primary, isp-a
	Link      string         `yaml:"link"` // the edge's link: expressroute/primary
	Side      Side           `yaml:"side"`
	Interface string         `yaml:"interface"` // the edge's
	Site      []netip.Prefix `yaml:"site"`      // the edge's addresses
	Addresses []netip.Prefix `yaml:"addresses"` // the router's own
	// Assigned are prefixes that the router sends to the site without BGP, beside the link's subnets.
	Assigned []netip.Prefix `yaml:"assigned"`

	// ASN is the router's; 0: it does not speak BGP, and the rest means nothing.
	ASN             uint32         `yaml:"asn"`
	Hold            time.Duration  `yaml:"hold"`
	GracefulRestart bool           `yaml:"graceful-restart"`
	RestartTime     time.Duration  `yaml:"restart-time"`
	Password        string         `yaml:"password"`
	TTLSecurity     bool           `yaml:"ttl-security"`
	Passive         bool           `yaml:"passive"` // the router waits for the edge
	Default         bool           `yaml:"default"` // it announces the default route
	Feeds           []string       `yaml:"feeds"`
	Prefixes        []netip.Prefix `yaml:"prefixes"` // announced beside the feeds

	// Edge are further keys of the link in the edge's configuration.
	Edge map[string]string `yaml:"edge"`
}

// Address returns the router's address of a family on the wire to the edge, invalid where it has none.
func (r Router) Address(v6 bool) netip.Prefix { return ofFamily(r.Addresses, v6) }

// SiteAddress returns the edge's address of a family on the wire, invalid where it has none.
func (r Router) SiteAddress(v6 bool) netip.Prefix { return ofFamily(r.Site, v6) }

func ofFamily(list []netip.Prefix, v6 bool) netip.Prefix {
	for _, p := range list {
		if p.Addr().Is6() == v6 {
			return p
		}
	}
	return netip.Prefix{}
}

// PathName is the path that the router's link belongs to.
func (r Router) PathName() string {
	path, _, _ := strings.Cut(r.Link, "/")
	return path
}

// Steer is a steer rule of the edge's configuration.
type Steer struct {
	Name      string         `yaml:"name"`
	To        []netip.Prefix `yaml:"to"`
	Use       []string       `yaml:"use"`
	Otherwise string         `yaml:"otherwise"`
}

// Router finds a router by its name or its link; nil where there is none.
func (w *World) Router(name string) *Router {
	for i := range w.Routers {
		if r := &w.Routers[i]; r.Name == name || r.Link == name {
			return r
		}
	}
	return nil
}

// Path finds a path; nil where there is none.
func (w *World) Path(name string) *Path {
	for i := range w.Paths {
		if w.Paths[i].Name == name {
			return &w.Paths[i]
		}
	}
	return nil
}

// Host finds a host anywhere.
func (w *World) Host(name string) (Host, bool) {
	for _, list := range [][]Host{w.Site.Hosts, w.Cloud, w.Internet} {
		for _, h := range list {
			if h.Name == name {
				return h, true
			}
		}
	}
	return Host{}, false
}

// Sources are the prefixes that a router takes packets of from the site: what the path announces, the link's subnets and
// what is assigned there. All else is a source that its provider did not agree to (BCP 38).
func (w *World) Sources(r Router) []netip.Prefix {
	out := slices.Clone(r.Assigned)
	if p := w.Path(r.PathName()); p != nil {
		out = append(out, p.Announce...)
	}
	for _, a := range r.Site {
		out = append(out, a.Masked())
	}
	return out
}

// Pinned are the single hosts of steer rules that do not use the circuit.
func (w *World) Pinned() []netip.Addr {
	var out []netip.Addr
	for _, s := range w.Steer {
		circuit := slices.ContainsFunc(s.Use, func(path string) bool {
			return slices.ContainsFunc(w.Routers, func(r Router) bool { return r.PathName() == path && r.Side == Circuit })
		})
		for _, to := range s.To {
			if to.IsSingleIP() && !circuit {
				out = append(out, to.Addr())
			}
		}
	}
	return out
}
