package kstate

import (
	"fmt"

	"bothways/internal/route"
)

// Rule is a routing policy rule. It is comparable: two equal values are the same rule.
type Rule struct {
	Family   route.Family
	Priority uint32
	Table    uint32
	Mark     uint32
	Mask     uint32 // 0: any mark
	// SuppressPrefixLength ignores what the table answers with a prefix of this length or shorter; -1 ignores nothing.
	SuppressPrefixLength int
	// Local: only for packets that this machine makes itself.
	Local bool
}

// Sticks reports whether the rule leads connections to the link that they stick to, or replies to that which was asked by.
func (r Rule) Sticks() bool { return r.link() != 0 }

// Nexthop is the link's own that a rule which sticks leads to by the link's table.
func (r Rule) Nexthop() NexthopID { return LinkNexthop(r.link(), r.Family) }

// link is the number of the link that the rule sticks to; 0: it does not.
func (r Rule) link() route.Link {
	for _, first := range [...]uint32{PriorityLink, PriorityReply} {
		if r.Priority > first && r.Priority <= first+MaxLinks {
			return route.Link(r.Priority - first)
		}
	}
	return 0
}

// String prints the rule as ip's arguments.
func (r Rule) String() string {
	s := fmt.Sprintf("rule priority %d", r.Priority)
	if r.Family == route.IPv6 {
		s = "-6 " + s
	}
	if r.Local {
		s += " iif lo"
	}
	if r.Mask != 0 {
		s += fmt.Sprintf(" fwmark %#x/%#x", r.Mark, r.Mask)
	}
	s += fmt.Sprintf(" lookup %d", r.Table)
	if r.SuppressPrefixLength >= 0 {
		s += fmt.Sprintf(" suppress_prefixlength %d", r.SuppressPrefixLength)
	}
	return s + fmt.Sprintf(" proto %d", Protocol)
}
