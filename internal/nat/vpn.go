package nat

import (
	"net/netip"
	"strings"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// A VPN's gateway in the provider's network must not be reached by the circuit, and the provider's prefixes capture it
// there. Who speaks IKE by a circuit is kept for vpnTimeout: it speaks again and again, to see that the other end lives.
const (
	vpnTimeout = 10 * time.Minute
	vpnSize    = 64
)

// ikePorts are IKE's, the second one also of ESP in UDP (RFC 7296, section 2.23; RFC 3948).
func ikePorts() []uint16 { return []uint16{500, 4500} }

// VPNName is the counter of IKE's packets that leave by a path.
func VPNName(path string) string { return "vpn/" + path }

// ParseVPN is the reverse of VPNName.
func ParseVPN(counter string) (path string, ok bool) { return strings.CutPrefix(counter, "vpn/") }

// VPNSet is the set of the addresses, in a family, that IKE is spoken with by a path.
func VPNSet(path string, f route.Family) string { return VPNName(path) + "/" + f.String() }

// circuits are the paths that are circuits, in order.
func (b *builder) circuits() []string {
	var out []string
	for _, l := range b.p.Links {
		if l.Circuit && (len(out) == 0 || out[len(out)-1] != l.Path()) {
			out = append(out, l.Path())
		}
	}
	return out
}

func (b *builder) vpnSets() (counters []string, sets []kstate.NftSet) {
	for _, path := range b.circuits() {
		counters = append(counters, VPNName(path))
		for _, f := range route.Families() {
			typ := kstate.IPv4Addr
			if f == route.IPv6 {
				typ = kstate.IPv6Addr
			}
			sets = append(sets, kstate.NftSet{Name: VPNSet(path, f), Type: typ, Dynamic: true, Timeout: vpnTimeout, Size: vpnSize})
		}
	}
	return counters, sets
}

// vpn notes whom IKE is spoken with by a circuit's link, by connections that were opened from inside. The path keeps no
// other packet longer than it takes to see that it is none.
func (b *builder) vpn(l Link) []kstate.NftRule {
	if !l.Circuit {
		return nil
	}
	return []kstate.NftRule{rule(kstate.MatchPort{Protocol: kstate.UDP, End: kstate.Destination, Ports: ikePorts()}, kstate.JumpTo(chain("vpn", l)))}
}

func (b *builder) vpnChain(l Link) []kstate.NftChain {
	if !l.Circuit {
		return nil
	}
	c := kstate.NftChain{Name: chain("vpn", l), Rules: []kstate.NftRule{rule(kstate.MatchReply{}, kstate.Verdict{Kind: kstate.Return}), rule(kstate.Count{Name: VPNName(l.Path())})}}
	for _, f := range route.Families() {
		c.Rules = append(c.Rules, rule(kstate.MatchFamily{Family: f}, kstate.AddToSet{Set: VPNSet(l.Path(), f), Family: f, End: kstate.Destination}))
	}
	return []kstate.NftChain{c}
}

// Gateways are what Watch's reader wants of a circuit: all addresses of both families.
func Gateways(read func(set string) ([]netip.Addr, error), path string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, f := range route.Families() {
		list, err := read(VPNSet(path, f))
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}
