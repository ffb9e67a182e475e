package kstate

import (
	"fmt"
	"net/netip"
	"strings"

	"bothways/internal/route"
)

// NexthopID identifies a nexthop object or a group of them in the kernel.
type NexthopID uint32

// Ours reports whether the id lies in our range.
func (id NexthopID) Ours() bool { return id >= NexthopFirst && id <= NexthopLast }

// Nexthop is a nexthop object: one neighbor on one interface, or a group of such objects.
//
// A single has Interface and Gateway (the gateway is invalid for a point-to-point interface without one); a group has
// Members, sorted by id, all of them singles. The kernel refuses to turn one kind into the other, and refuses a single
// on an interface without carrier.
type Nexthop struct {
	ID        NexthopID
	Family    route.Family
	Interface int // index
	Gateway   netip.Addr
	Members   []Member
}

// Member is a part of a group with its share of the traffic.
type Member struct {
	ID     NexthopID
	Weight int // 1 to 256
}

// Group reports whether the object is a group.
func (n Nexthop) Group() bool { return len(n.Members) > 0 }

// Equal reports whether both are the same object with the same content.
func (n Nexthop) Equal(o Nexthop) bool {
	if n.ID != o.ID || len(n.Members) != len(o.Members) {
		return false
	}
	if !n.Group() && (n.Family != o.Family || n.Interface != o.Interface || n.Gateway != o.Gateway) {
		return false
	}
	for i := range n.Members {
		if n.Members[i] != o.Members[i] {
			return false
		}
	}
	return true
}

// String prints the object as ip's arguments, the interface by its index.
func (n Nexthop) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "nexthop id %d", n.ID)
	if n.Group() {
		b.WriteString(" group ")
		for i, m := range n.Members {
			if i > 0 {
				b.WriteByte('/')
			}
			fmt.Fprintf(&b, "%d", m.ID)
			if m.Weight > 1 {
				fmt.Fprintf(&b, ",%d", m.Weight)
			}
		}
		return b.String()
	}
	if n.Gateway.IsValid() {
		fmt.Fprintf(&b, " via %s", n.Gateway)
	}
	fmt.Fprintf(&b, " dev #%d proto %d", n.Interface, Protocol)
	return b.String()
}
