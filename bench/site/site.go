package site

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/lab/netns"
)

// Peer is a neighbor of the router with the wire to it.
type Peer struct {
	Name      string // p1, p2 …
	AS        uint32
	Interface string // of the router
	Router    netip.Addr
	Address   netip.Addr
	Router6   netip.Addr
	Address6  netip.Addr
	// Circuit: its routes go before others' whatever their paths.
	Circuit bool
	Space   *netns.Namespace
}

// Names inside the namespaces.
const (
	Inside     = "lan0" // the router's interface to the inside
	PeerDevice = "edge" // a peer's to the router
)

// RouterAS is that of the router under test.
const RouterAS = 65010

// InsideNetwork is the network inside; the host that sends is its Host, the router its RouterInside.
var (
	InsideNetwork = netip.MustParsePrefix("10.20.0.0/16")
	RouterInside  = netip.MustParseAddr("10.20.0.1")
	Host          = netip.MustParseAddr("10.20.0.10")
	InsideIPv6    = netip.MustParsePrefix("fd20::/64")
	RouterInside6 = netip.MustParseAddr("fd20::1")
	Host6         = netip.MustParseAddr("fd20::10")
)

// Site is one router's place with its neighbors and the inside.
type Site struct {
	Edge, LAN *netns.Namespace
	Peers     []*Peer
}

// Options say what is particular about a site.
type Options struct {
	// AS numbers of the neighbors, in the order in which they are preferred where all else is equal.
	AS []uint32
	// Circuits is how many of the first neighbors are circuits.
	Circuits int
	// Cards makes the wires behave as network cards do when the carrier changes (equal interface indexes).
	Cards bool
}

// New builds a site.
func New(o Options) (*Site, error) {
	s := &Site{}
	if err := s.build(o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Site) build(o Options) error {
	var err error
	if s.Edge, err = netns.New("edge"); err != nil {
		return err
	}
	if s.LAN, err = netns.New("lan"); err != nil {
		return err
	}
	for i, as := range o.AS {
		at := byte(4 * i)
		p := &Peer{
			Name: fmt.Sprintf("p%d", i+1), AS: as, Interface: fmt.Sprintf("up%d", i+1), Circuit: i < o.Circuits,
			Router: netip.AddrFrom4([4]byte{192, 0, 2, at + 1}), Address: netip.AddrFrom4([4]byte{192, 0, 2, at + 2}),
			Router6: netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::1", i+1)), Address6: netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::2", i+1)),
		}
		if p.Space, err = netns.New(p.Name); err != nil {
			return err
		}
		s.Peers = append(s.Peers, p)
		index, far := 20+i, 40+i
		if o.Cards {
			far = index
		}
		err := netns.Wire(
			netns.End{In: s.Edge, Name: p.Interface, Index: index, Addresses: []netip.Prefix{netip.PrefixFrom(p.Router, 30), netip.PrefixFrom(p.Router6, 64)}},
			netns.End{In: p.Space, Name: PeerDevice, Index: far, Addresses: []netip.Prefix{netip.PrefixFrom(p.Address, 30), netip.PrefixFrom(p.Address6, 64)}})
		if err != nil {
			return err
		}
	}
	err = netns.Wire(
		netns.End{In: s.Edge, Name: Inside, Addresses: []netip.Prefix{netip.PrefixFrom(RouterInside, 16), netip.PrefixFrom(RouterInside6, 64)}},
		netns.End{In: s.LAN, Name: PeerDevice, Addresses: []netip.Prefix{netip.PrefixFrom(Host, 16), netip.PrefixFrom(Host6, 64)}})
	if err != nil {
		return err
	}
	return errors.Join(s.forward(), s.fixed())
}

// forward makes the router a router, whichever daemon runs on it.
func (s *Site) forward() error {
	var errs []error
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		errs = append(errs, s.Edge.Sysctl(key, "1"))
	}
	errs = append(errs, s.Edge.Sysctl("ipv4/conf/all/rp_filter", "0"), s.Edge.Sysctl("ipv6/route/max_size", "16777216"))
	return errors.Join(errs...)
}

// fixed makes the default route inside, and the ways back.
func (s *Site) fixed() error {
	errs := []error{
		s.LAN.Route(netip.MustParsePrefix("0.0.0.0/0"), 1, netns.Hop{Interface: PeerDevice, Gateway: RouterInside}),
		s.LAN.Route(netip.MustParsePrefix("::/0"), 1, netns.Hop{Interface: PeerDevice, Gateway: RouterInside6}),
	}
	for _, p := range s.Peers {
		errs = append(errs, p.Space.Route(InsideNetwork, 1, netns.Hop{Interface: PeerDevice, Gateway: p.Router}),
			p.Space.Route(InsideIPv6, 1, netns.Hop{Interface: PeerDevice, Gateway: p.Router6}))
	}
	return errors.Join(errs...)
}

// Close takes everything away.
func (s *Site) Close() {
	for _, p := range s.Peers {
		if p.Space != nil {
			p.Space.Close()
		}
	}
	for _, n := range []*netns.Namespace{s.Edge, s.LAN} {
		if n != nil {
			n.Close()
		}
	}
}

// Answer makes every peer take packets to these addresses as its own.
func (s *Site) Answer(destinations []netip.Addr) error {
	for _, p := range s.Peers {
		if err := p.local(destinations, p.Space.RouteReplace); err != nil {
			return err
		}
	}
	return nil
}

// Forget undoes Answer at one peer: for it these addresses are nowhere.
func (s *Site) Forget(p *Peer, destinations []netip.Addr) error {
	return p.local(destinations, p.Space.RouteDel)
}

func (p *Peer) local(destinations []netip.Addr, do func(*netlink.Route) error) error {
	lo, err := p.Space.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, d := range destinations {
		r := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, LinkIndex: lo.Attrs().Index,
			Dst: &net.IPNet{IP: d.AsSlice(), Mask: net.CIDRMask(d.BitLen(), d.BitLen())}}
		if d.Is6() {
			r.Scope = netlink.SCOPE_UNIVERSE
		}
		if err := do(r); err != nil {
			return fmt.Errorf("%s: local %s: %w", p.Name, d, err)
		}
	}
	return nil
}

// Uses says by which neighbor the router's kernel would send to a destination from inside; nil: by none.
func (s *Site) Uses(d netip.Addr) *Peer {
	o := &netlink.RouteGetOptions{Iif: Inside, SrcAddr: Host.AsSlice()}
	if d.Is6() {
		o.SrcAddr = Host6.AsSlice()
	}
	routes, err := s.Edge.RouteGetWithOptions(d.AsSlice(), o)
	if err != nil || len(routes) == 0 {
		return nil
	}
	gw, _ := netip.AddrFromSlice(routes[0].Gw)
	for _, p := range s.Peers {
		if gw.Unmap() == p.Address || gw == p.Address6 {
			return p
		}
	}
	return nil
}

// Want is a destination with the neighbor that packets to it shall go to.
type Want struct {
	Destination netip.Addr
	Peer        *Peer
	Prefix      netip.Prefix // the longest that was announced
}

// Await asks the kernel until every destination goes where it shall, and says when that was, or which one does not.
func (s *Site) Await(wants []Want, limit time.Duration) (time.Time, error) {
	deadline := time.Now().Add(limit)
	for rest := wants; ; {
		for len(rest) > 0 && s.Uses(rest[0].Destination) == rest[0].Peer {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			done := time.Now()
			// What was right before may have changed meanwhile: then it is not done.
			for _, w := range wants {
				if s.Uses(w.Destination) != w.Peer {
					rest = wants
					break
				}
			}
			if len(rest) == 0 {
				return done, nil
			}
		}
		if time.Now().After(deadline) {
			used := "nobody"
			if p := s.Uses(rest[0].Destination); p != nil {
				used = p.Name
			}
			return time.Time{}, fmt.Errorf("after %s packets to %s go to %s, want %s", limit, rest[0].Destination, used, rest[0].Peer.Name)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
