package nat

import (
	"fmt"
	"net/netip"
	"slices"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// Steer is a steer rule as the table sees it: what it matches, and whether connections stick.
type Steer struct {
	Name     string
	From, To []netip.Prefix // none: any
	Protocol kstate.L4Protocol
	Ports    []uint16 // of the destination
	DSCP     *uint8
	Sticky   bool
	// Mark selects the rule's own table; 0: it has none, its destinations are steered in ours.
	Mark uint32
	// Limits are classes for what leaves by links under the rule.
	Limits []Limit
}

// Limit is the class, of our queueing discipline on a link, for traffic of a rule.
type Limit struct {
	Link  route.Link
	Minor uint16
}

// matters reports whether the rule does anything here.
func (s Steer) matters() bool { return s.Mark != 0 || !s.Sticky || len(s.Limits) > 0 }

// steered are the rules that must be looked at: all up to the last one that does anything, since the first match counts.
func (b *builder) steered() []Steer {
	for i := len(b.p.Steer) - 1; i >= 0; i-- {
		if b.p.Steer[i].matters() {
			return b.p.Steer[:i+1]
		}
	}
	return nil
}

func steerName(i int) string { return fmt.Sprintf("steer_%d", i) }

func steerSet(i int, end kstate.End, f route.Family) string {
	return steerName(i) + [...]string{"_from_", "_to_"}[min(end, kstate.Destination)] + f.String()
}

// steerSets holds the prefixes of rules that have more than one in a family.
func (b *builder) steerSets() []kstate.NftSet {
	var out []kstate.NftSet
	for i, s := range b.steered() {
		for end, list := range map[kstate.End][]netip.Prefix{kstate.Source: s.From, kstate.Destination: s.To} {
			for _, f := range route.Families() {
				if own := disjoint(list, f); len(own) > 1 {
					typ := kstate.IPv4Addr
					if f == route.IPv6 {
						typ = kstate.IPv6Addr
					}
					out = append(out, kstate.NftSet{Name: steerSet(i, end, f), Type: typ, Prefixes: own})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b kstate.NftSet) int { return compareText(a.Name, b.Name) })
	return out
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// disjoint are the prefixes of a family without those that lie inside another: the kernel's sets take none that overlap.
func disjoint(list []netip.Prefix, f route.Family) []netip.Prefix {
	var out []netip.Prefix
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, route.ComparePrefix)
	for _, p := range sorted {
		// In this order what covers p, if anything does, is the last one kept.
		if route.FamilyOf(p.Addr()) == f && (len(out) == 0 || !route.Contains(out[len(out)-1], p)) {
			out = append(out, p)
		}
	}
	return out
}

// steer sends packets from inside that a rule matches to the rule's chain.
func (b *builder) steer() []kstate.NftRule {
	var out []kstate.NftRule
	for i, s := range b.steered() {
		for _, f := range route.Families() {
			if parts, ok := b.matches(i, s, f); ok {
				out = append(out, rule(append(parts, kstate.GotoChain(steerName(i)))...).WithComment("%s", s.Name))
			}
		}
	}
	return out
}

// matches are the conditions of a rule in a family; false where it has none of its addresses there.
func (b *builder) matches(i int, s Steer, f route.Family) ([]kstate.Part, bool) {
	parts := []kstate.Part{kstate.MatchFamily{Family: f}}
	for _, x := range []struct {
		end  kstate.End
		list []netip.Prefix
	}{{kstate.Source, s.From}, {kstate.Destination, s.To}} {
		if len(x.list) == 0 {
			continue
		}
		m := kstate.MatchAddress{End: x.end}
		switch own := disjoint(x.list, f); len(own) {
		case 0:
			return nil, false
		case 1:
			m.Prefixes = own
		default:
			m.Set, m.Family = steerSet(i, x.end, f), f
		}
		parts = append(parts, m)
	}
	if s.DSCP != nil {
		parts = append(parts, kstate.MatchDSCP{Family: f, Value: *s.DSCP})
	}
	switch {
	case len(s.Ports) > 0:
		parts = append(parts, kstate.MatchPort{Protocol: s.Protocol, End: kstate.Destination, Ports: s.Ports})
	case s.Protocol == kstate.ICMP && f == route.IPv6:
		parts = append(parts, kstate.MatchProtocol{Protocols: []kstate.L4Protocol{kstate.ICMPv6}})
	case s.Protocol != 0:
		parts = append(parts, kstate.MatchProtocol{Protocols: []kstate.L4Protocol{s.Protocol}})
	}
	return parts, true
}

// steerChains say what becomes of a packet that a rule matches: of a sticky connection it keeps to the connection's link,
// else it follows the rule.
func (b *builder) steerChains() []kstate.NftChain {
	var out []kstate.NftChain
	for i, s := range b.steered() {
		c := kstate.NftChain{Name: steerName(i)}
		if s.Sticky {
			for _, r := range b.restore() {
				c.Rules = append(c.Rules, r.WithComment("%s", s.Name))
			}
		}
		if s.Mark != 0 {
			c.Rules = append(c.Rules, rule(kstate.SetMark{Of: kstate.PacketMark, Mask: b.p.Mask, Value: s.Mark}).WithComment("%s", s.Name))
		}
		out = append(out, c)
	}
	return out
}

// limits puts what leaves under a rule into the rule's class on the link. It stands before translation, so that sources
// are still those inside; a class set earlier would not survive to the queue.
func (b *builder) limits() []kstate.NftChain {
	c := kstate.NftChain{Name: "limit", Hook: kstate.Postrouting, Type: kstate.FilterChain, Priority: priorityMangle + 1}
	for i, s := range b.steered() {
		for _, f := range route.Families() {
			parts, ok := b.matches(i, s, f)
			if !ok {
				continue
			}
			for _, limit := range s.Limits {
				for _, l := range b.p.Links {
					if l.Number == limit.Link {
						out := append([]kstate.Part{kstate.MatchInterface{Direction: kstate.Out, Names: []string{l.Interface}}}, parts...)
						c.Rules = append(c.Rules, rule(append(out, kstate.SetPriority{Major: kstate.ShaperHandle, Minor: limit.Minor}, kstate.Verdict{Kind: kstate.Return})...).WithComment("%s", s.Name))
					}
				}
			}
		}
	}
	if len(c.Rules) == 0 {
		return nil
	}
	return []kstate.NftChain{c}
}
