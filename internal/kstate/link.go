package kstate

import (
	"net/netip"
	"time"
)

// Interface is what the kernel says of a network interface.
type Interface struct {
	Index     int
	Name      string
	AdminUp   bool
	Carrier   bool // IFF_LOWER_UP: packets can leave
	MTU       int
	Addresses []netip.Prefix // unmasked: the address with its prefix length
}

// NeighborState is what the kernel knows of a neighbor's reachability, from ARP or ND.
type NeighborState uint8

// Neighbor states, condensed from NUD_*.
const (
	NeighborUnknown   NeighborState = iota // none, incomplete: not yet answered
	NeighborReachable                      // answered lately (NUD_REACHABLE, NUD_PERMANENT, NUD_NOARP)
	NeighborStale                          // known, not confirmed lately (STALE, DELAY, PROBE)
	NeighborFailed                         // asked, no answer
)

// Neighbor is an entry of the kernel's neighbor table.
type Neighbor struct {
	Interface int
	Address   netip.Addr
	State     NeighborState
	// Confirmed is how long before it was read the kernel last knew that it answers, in steps of 10 ms; negative: it does
	// not say. Of an entry that never was confirmed it is a minute and more before the entry was made.
	Confirmed time.Duration
}

// Sysctl is a kernel setting: the key with dots, as sysctl(8) prints it.
type Sysctl struct {
	Key, Value string
	AtLeast    bool // a higher number is as good
	// Guarded: it opens what a rule of our table closes again. It is set behind the table, and is 0 again before that goes.
	Guarded bool
}
