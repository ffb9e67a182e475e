package flow

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// RuleParams are what a steer rule looks at, as far as it can be seen in a tracked connection: not its DSCP.
type RuleParams struct {
	From, To []netip.Prefix // none: any
	Protocol uint8          // 0: any
	Ports    []uint16       // of the destination; none: any
}

// Rule matches connections. It is immutable.
type Rule struct {
	p        RuleParams
	from, to *bart.Lite
}

// NewRule prepares a rule, which may have many prefixes.
func NewRule(p RuleParams) *Rule {
	r := &Rule{p: p, from: new(bart.Lite), to: new(bart.Lite)}
	for _, x := range p.From {
		r.from.Insert(x)
	}
	for _, x := range p.To {
		r.to.Insert(x)
	}
	return r
}

// Matches reports whether a connection that was opened from inside falls under the rule.
func (r *Rule) Matches(f Flow) bool {
	return !f.Inbound && (len(r.p.From) == 0 || r.from.Contains(f.Source.Addr())) &&
		(len(r.p.To) == 0 || r.to.Contains(f.Destination.Addr())) &&
		(r.p.Protocol == 0 || r.p.Protocol == f.Protocol) && (len(r.p.Ports) == 0 || slices.Contains(r.p.Ports, f.Destination.Port()))
}
