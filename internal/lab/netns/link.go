package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// End is one end of a wire: an interface to be.
type End struct {
	In   *Namespace
	Name string
	// Index is the interface's index; 0 leaves it to the kernel. Two ends with the same one behave as network cards do
	// when the carrier changes, other pairs do not: the kernel tells a card by an index that equals its lower device's.
	Index     int
	Addresses []netip.Prefix
}

// Wire joins two ends by a veth pair, and sets them up with their addresses.
func Wire(a, b End) error {
	err := a.In.Do(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
		head := nl.NewIfInfomsg(unix.AF_UNSPEC)
		head.Index = int32(a.Index)
		req.AddData(head)
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(a.Name)))
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
		peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
		nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC).Index = int32(b.Index)
		peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(b.Name))
		peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(b.In.fd())))
		req.AddData(info)
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("wire %s %s to %s %s: %w", a.In.Name, a.Name, b.In.Name, b.Name, err)
	}
	for _, e := range []End{a, b} {
		if err := e.In.Up(e.Name, e.Addresses...); err != nil {
			return err
		}
	}
	return nil
}

// Up sets an interface up and gives it addresses; those that it has already stay.
func (n *Namespace) Up(name string, addresses ...netip.Prefix) error {
	link, err := n.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", n.Name, name, err)
	}
	if err := n.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: %s up: %w", n.Name, name, err)
	}
	for _, p := range addresses {
		a := &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}
		if p.Addr().Is4() {
			a.Flags = 0
		}
		if err := n.AddrReplace(link, a); err != nil {
			return fmt.Errorf("%s: %s: address %s: %w", n.Name, name, p, err)
		}
	}
	return nil
}

// Down sets an interface down, so that the other end of its wire loses the carrier.
func (n *Namespace) Down(name string) error {
	link, err := n.LinkByName(name)
	if err == nil {
		err = n.LinkSetDown(link)
	}
	if err != nil {
		return fmt.Errorf("%s: %s down: %w", n.Name, name, err)
	}
	return nil
}

// Bridge makes a bridge of interfaces that are there.
func (n *Namespace) Bridge(name string, ports ...string) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := n.LinkAdd(bridge); err != nil {
		return fmt.Errorf("%s: bridge: %w", n.Name, err)
	}
	for _, port := range ports {
		link, err := n.LinkByName(port)
		if err == nil {
			err = n.LinkSetMaster(link, bridge)
		}
		if err != nil {
			return fmt.Errorf("%s: bridge port %s: %w", n.Name, port, err)
		}
	}
	return n.Up(name)
}

// Hop is a next hop: a gateway behind an interface.
type Hop struct {
	Interface string
	Gateway   netip.Addr
}

// Protocol is that of the routes a world sets, so that they can be told from others.
const Protocol = 186

// Route sends a prefix to hops, several of them sharing the load; without hops the route with this metric is deleted.
func (n *Namespace) Route(p netip.Prefix, metric int, hops ...Hop) error {
	r := &netlink.Route{Dst: ipNet(p), Priority: metric, Protocol: Protocol}
	for _, h := range hops {
		link, err := n.LinkByName(h.Interface)
		if err != nil {
			return fmt.Errorf("%s: route %s: %s: %w", n.Name, p, h.Interface, err)
		}
		r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{LinkIndex: link.Attrs().Index, Gw: h.Gateway.AsSlice()})
	}
	var err error
	switch len(r.MultiPath) {
	case 0:
		if err = n.RouteDel(r); errors.Is(err, unix.ESRCH) {
			err = nil
		}
	case 1:
		r.LinkIndex, r.Gw, r.MultiPath = r.MultiPath[0].LinkIndex, r.MultiPath[0].Gw, nil
		fallthrough
	default:
		err = n.RouteReplace(r)
	}
	if err != nil {
		return fmt.Errorf("%s: route %s: %w", n.Name, p, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
