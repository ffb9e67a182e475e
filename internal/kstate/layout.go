package kstate

import "bothways/internal/route"

// The numbers by which objects are ours. Nothing outside of them is ever changed or deleted.
const (
	// Protocol is our number in rtm_protocol, nh_protocol and the rules' FRA_PROTOCOL. 98 is in none of the
	// files under /etc/iproute2/rt_protos.d that distributions ship, nor in the kernel's rtnetlink.h.
	Protocol = 98

	// MainTable is the kernel's table main, which belongs to others.
	MainTable = 254
	// Table is our table. The table of link n is Table+n, n from 1 to MaxLinks.
	Table    = 9800
	MaxLinks = 255
	// SteerTable is the table of the first steer rule that needs one of its own; others follow.
	SteerTable = Table + MaxLinks + 1

	// ReplyTable+n is the table of replies to what came in by link n, where that link does not reach everybody.
	ReplyTable = SteerTable + MaxLinks + 1

	// Rule priorities: marks of links, of steer rules and of replies, probes, main's specific routes, ours. Those of a link and of its
	// probes are different numbers, since the kernel takes a deletion that names no interface for any rule with the same ones.
	PriorityLink  = 9800  // +n for link n
	PrioritySteer = 10100 // +i for the i-th rule with a table
	PriorityReply = 10360 // +n for replies on link n
	PriorityProbe = 10620 // +n for what this machine itself marks for link n
	PriorityMain  = 10900
	PriorityTable = 10901
	PriorityLast  = 10999

	// Nexthop ids: 0x62000000 to 0x62ffffff are ours. A link's own nexthop and the groups have ranges of their own,
	// so that a dump can be told apart by number.
	NexthopFirst NexthopID = 0x62000000
	GroupFirst   NexthopID = 0x62100000
	NexthopLast  NexthopID = 0x62ffffff

	// Metrics of our routes. Lookups take the lowest that exists.
	MetricRanking   = 100        // the group of the prefix's ranking
	MetricTier      = 101        // +i: the fallback groups of tiers, where a prefix is installed per tier
	MetricEnd       = 1000       // blackhole or throw behind the tiers
	MetricBlackhole = 4294967294 // pools and announced prefixes

	// NftTable is the name of our nftables table, of family inet.
	NftTable = "bothways"
)

// LinkNexthop is the id of a link's own nexthop object in a family.
func LinkNexthop(l route.Link, f route.Family) NexthopID {
	return NexthopFirst + NexthopID(f)<<12 + NexthopID(l)
}
