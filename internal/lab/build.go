package lab

import (
	"fmt"
	"net/netip"
	"strings"

	"bothways/internal/lab/farside"
	"bothways/internal/lab/netns"
	"bothways/internal/lab/world"
)

// siteInterface is the name that every router has for its wire to the edge.
const siteInterface = "site"

// indexes gives both ends of the n-th wire of the edge their interface indexes: equal, as a network card's would be to
// its own, or different on purpose, since chance may make them equal.
func (w *World) indexes(n int) (edge, far int) {
	edge = 1001 + n
	if w.Description.EqualIndex {
		return edge, edge
	}
	return edge, edge + 1000
}

// wireInside joins the edge and the inside's hosts by a bridge.
func (w *World) wireInside() error {
	site := w.Description.Site
	a, b := w.indexes(0)
	err := netns.Wire(
		netns.End{In: w.spaces[Edge], Name: site.Interface, Index: a, Addresses: site.Addresses},
		netns.End{In: w.spaces[lan], Name: "edge", Index: b})
	if err != nil {
		return err
	}
	ports := []string{"edge"}
	for i, h := range site.Hosts {
		port := fmt.Sprintf("port%d", i)
		ports = append(ports, port)
		end := netns.End{In: w.spaces[h.Name], Name: "eth0"}
		if err := netns.Wire(end, netns.End{In: w.spaces[lan], Name: port}); err != nil {
			return err
		}
		if err := w.upInside(h.Name); err != nil {
			return err
		}
	}
	return w.spaces[lan].Bridge("br0", ports...)
}

// upInside gives an inside host its addresses and its way to the edge.
func (w *World) upInside(name string) error {
	h, _ := w.Description.Host(name)
	var addresses []netip.Prefix
	for _, a := range h.Addresses {
		for _, p := range w.Description.Site.Addresses {
			if p.Contains(a) {
				addresses = append(addresses, netip.PrefixFrom(a, p.Bits()))
			}
		}
	}
	if err := w.spaces[name].Up("eth0", addresses...); err != nil {
		return err
	}
	for _, p := range w.Description.Site.Addresses {
		if err := w.spaces[name].Route(everything(p.Addr()), 0, netns.Hop{Interface: "eth0", Gateway: p.Addr()}); err != nil {
			return err
		}
	}
	return nil
}

func everything(like netip.Addr) netip.Prefix {
	if like.Is4() {
		return netip.MustParsePrefix("0.0.0.0/0")
	}
	return netip.MustParsePrefix("::/0")
}

// wireRouters joins each router with the edge, with the cloud and, on the Internet's side, with the Internet.
func (w *World) wireRouters() error {
	for i, r := range w.Description.Routers {
		a, b := w.indexes(1 + i)
		err := netns.Wire(
			netns.End{In: w.spaces[Edge], Name: r.Interface, Index: a, Addresses: r.Site},
			netns.End{In: w.spaces[r.Name], Name: siteInterface, Index: b, Addresses: r.Addresses})
		if err != nil {
			return err
		}
		behind := []string{Cloud}
		if r.Side == world.Internet {
			behind = append(behind, Internet)
		}
		for _, where := range behind {
			err := netns.Wire(
				netns.End{In: w.spaces[r.Name], Name: where, Addresses: []netip.Prefix{transit(where, i, false, 1), transit(where, i, true, 1)}},
				netns.End{In: w.spaces[where], Name: backbone(i), Addresses: []netip.Prefix{transit(where, i, false, 2), transit(where, i, true, 2)}})
			if err != nil {
				return err
			}
		}
		if err := w.staticRoutes(i, r); err != nil {
			return err
		}
	}
	return nil
}

// transit is an address on the wire between the router with number i and the hosts behind it.
func transit(where string, i int, v6 bool, end byte) netip.Prefix {
	net := byte(64)
	if where == Internet {
		net = 65
	}
	if v6 {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: net, 3: byte(i), 15: end}), 126)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, net, byte(i), end}), 30)
}

// backbone is the name that the hosts' namespaces have for their wire to the router with number i.
func backbone(i int) string { return fmt.Sprintf("router%d", i) }

// staticRoutes are those that do not depend on BGP: from a router to the hosts behind it, and from the Internet to what
// the router's provider assigned to the site. The circuit's own subnets are reachable from nowhere.
func (w *World) staticRoutes(i int, r world.Router) error {
	own := w.spaces[r.Name]
	hosts := map[string][]world.Host{Cloud: w.Description.Cloud}
	if r.Side == world.Internet {
		hosts[Internet] = w.Description.Internet
	}
	for where, list := range hosts {
		for _, h := range list {
			for _, a := range h.Addresses {
				hop := netns.Hop{Interface: where, Gateway: transit(where, i, a.Is6(), 2).Addr()}
				if err := own.Route(netip.PrefixFrom(a, a.BitLen()), 0, hop); err != nil {
					return err
				}
			}
		}
	}
	if err := w.assignedRoutes(r); err != nil || r.Side != world.Internet {
		return err
	}
	assigned := append([]netip.Prefix{}, r.Assigned...)
	for _, p := range r.Site {
		assigned = append(assigned, p.Masked())
	}
	for _, p := range assigned {
		for where := range hosts {
			hop := netns.Hop{Interface: backbone(i), Gateway: transit(where, i, p.Addr().Is6(), 1).Addr()}
			if err := w.spaces[where].Route(p, metricStatic+i, hop); err != nil {
				return err
			}
		}
	}
	return nil
}

// assignedRoutes are the router's static routes to the site. A link that goes down takes them along.
func (w *World) assignedRoutes(r world.Router) error {
	for _, p := range r.Assigned {
		hop := netns.Hop{Interface: siteInterface, Gateway: r.SiteAddress(p.Addr().Is6()).Addr()}
		if err := w.spaces[r.Name].Route(p, 0, hop); err != nil {
			return err
		}
	}
	return nil
}

// Metrics of routes back to the site: the circuit before the Internet, as the provider does.
const (
	metricCircuit = 100
	metricRouter  = 200
	metricStatic  = 300
)

// routed makes the hosts behind a router send what the edge announced there by it: from the cloud over the circuit where
// it is announced there, on either link, else over the Internet in the order of the routers.
func (w *World) routed(from world.Router, e farside.RouteEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	set := w.learned[from.Name]
	if set == nil {
		set = map[netip.Prefix]bool{}
		w.learned[from.Name] = set
	}
	if e.Withdrawn {
		delete(set, e.Prefix)
	} else {
		set[e.Prefix] = true
	}
	var circuit []netns.Hop
	for i, r := range w.Description.Routers {
		if r.Side == world.Circuit {
			if w.learned[r.Name][e.Prefix] {
				circuit = append(circuit, netns.Hop{Interface: backbone(i), Gateway: transit(Cloud, i, e.Prefix.Addr().Is6(), 1).Addr()})
			}
			continue
		}
		if r.Name != from.Name {
			continue
		}
		for _, where := range []string{Cloud, Internet} {
			var hops []netns.Hop
			if !e.Withdrawn {
				hops = append(hops, netns.Hop{Interface: backbone(i), Gateway: transit(where, i, e.Prefix.Addr().Is6(), 1).Addr()})
			}
			if err := w.spaces[where].Route(e.Prefix, metricRouter+i, hops...); err != nil {
				w.log.Error("route back not set", "error", err)
			}
		}
	}
	if from.Side == world.Circuit {
		if err := w.spaces[Cloud].Route(e.Prefix, metricCircuit, circuit...); err != nil {
			w.log.Error("route back not set", "error", err)
		}
	}
	w.log.Debug("announced by the edge", "router", from.Name, "prefix", e.Prefix, "withdrawn", e.Withdrawn)
}

// addHosts gives the hosts behind the routers their addresses, all in one namespace for each side.
func (w *World) addHosts() error {
	for where, hosts := range map[string][]world.Host{Cloud: w.Description.Cloud, Internet: w.Description.Internet} {
		for _, h := range hosts {
			for _, a := range h.Addresses {
				if err := w.spaces[where].Up("lo", netip.PrefixFrom(a, a.BitLen())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// serve starts the services on both sides.
func (w *World) serve() error {
	w.cloud, w.internet = w.services(Cloud, w.Description.Cloud), w.services(Internet, w.Description.Internet)
	if err := w.spaces[Cloud].Do(func() error { return w.cloud.Serve(w.log) }); err != nil {
		return fmt.Errorf("cloud: %w", err)
	}
	if err := w.spaces[Internet].Do(func() error { return w.internet.Serve(w.log) }); err != nil {
		return fmt.Errorf("internet: %w", err)
	}
	return nil
}

func (w *World) services(where string, hosts []world.Host) *farside.Services {
	s := &farside.Services{Hosts: map[netip.Addr]string{}, ViaIndex: map[int]string{}, ViaMark: map[uint32]string{}}
	for _, h := range hosts {
		for _, a := range h.Addresses {
			s.Hosts[a] = h.Name
		}
	}
	for i, r := range w.Description.Routers {
		if link, err := w.spaces[where].LinkByName(backbone(i)); err == nil {
			s.ViaIndex[link.Attrs().Index] = r.Name
			s.ViaMark[uint32(i+1)] = r.Name
		}
	}
	return s
}

// filters sets up what routers refuse and count, and what tells services the way by which a packet came.
func (w *World) filters() error {
	for _, r := range w.Description.Routers {
		if err := w.filterRouter(r); err != nil {
			return err
		}
	}
	for _, where := range []string{Cloud, Internet} {
		if err := w.filterHosts(where, nil); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) filterRouter(r world.Router) error {
	f := netns.Filter{
		Only:  map[string][]netip.Prefix{siteInterface: w.Description.Sources(r)},
		Count: map[string][]netip.Addr{siteInterface: w.Description.Pinned()},
	}
	return w.spaces[r.Name].Filter(f)
}

func (w *World) filterHosts(where string, dead []netip.Addr) error {
	f := netns.Filter{Marks: map[string]uint32{}, Dead: dead}
	for i, r := range w.Description.Routers {
		if where == Cloud || r.Side == world.Internet {
			f.Marks[backbone(i)] = uint32(i + 1)
		}
	}
	return w.spaces[where].Filter(f)
}

// PinnedSeen counts the packets to pinned addresses that came to a router from the site since the world was raised.
func (w *World) PinnedSeen(router string) (uint64, error) {
	n, err := w.space(router)
	if err != nil {
		return 0, err
	}
	counters, err := n.Counters()
	if err != nil {
		return 0, err
	}
	var sum uint64
	for name, packets := range counters {
		if strings.ContainsAny(name, ".:") {
			sum += packets
		}
	}
	return sum, nil
}

// Refused counts the packets from the site that a router dropped for a source that is not the site's there.
func (w *World) Refused(router string) (uint64, error) {
	n, err := w.space(router)
	if err != nil {
		return 0, err
	}
	counters, err := n.Counters()
	return counters[netns.Refused], err
}
