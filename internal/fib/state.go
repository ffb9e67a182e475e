package fib

import "bothways/internal/route"

// State is what is known of the links in one family.
type State struct {
	Dead route.LinkSet
	// Ended are dead links of which nothing but the session has ended: they have no routes soon, and carry packets.
	Ended   route.LinkSet
	Drained route.LinkSet
	// Moved are drained links whose connections move along instead of sticking to them.
	Moved route.LinkSet
	// Present are the links whose nexthop the kernel can hold now: the interface exists, has a carrier, and the
	// gateway is known.
	Present route.LinkSet
}
