package rtnl

import (
	"fmt"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

// EventKind is what an event speaks of.
type EventKind uint8

// Event kinds, each with the fields of Event that it sets.
const (
	// Lost: events may have been missed. Read everything again. It is also the first event, sent as soon as the
	// following ones are certain to arrive; Err is nil then. Otherwise Err is the reason.
	Lost             EventKind = iota
	InterfaceChanged           // Interface, without addresses; Deleted
	AddressesChanged           // Interface.Index
	NeighborChanged            // Neighbor; Deleted
	RouteChanged               // Route, one of ours, changed by somebody else; Deleted
	RuleChanged                // any rule
	NexthopChanged             // Nexthop, one of ours, changed by somebody else; Deleted
)

func (k EventKind) String() string {
	names := [...]string{"lost", "interface", "addresses", "neighbor", "route", "rule", "nexthop"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// Event is a hint that something changed. The kernel does not tell everything: what a lost carrier takes with it goes
// without a route or nexthop event.
type Event struct {
	Kind      EventKind
	Deleted   bool
	Interface kstate.Interface
	Neighbor  kstate.Neighbor
	Route     kstate.Route
	Nexthop   kstate.NexthopID
	Err       error
}

// parseEvent turns a notification into an event; ok is false where it concerns nobody.
func parseEvent(typ uint16, b []byte) (e Event, ok bool) {
	var err error
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		e = Event{Kind: InterfaceChanged, Deleted: typ == unix.RTM_DELLINK}
		e.Interface, ok, err = parseLink(b)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		e.Kind, ok = AddressesChanged, true
		e.Interface.Index, _, _, err = parseAddress(b)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		e = Event{Kind: NeighborChanged, Deleted: typ == unix.RTM_DELNEIGH}
		e.Neighbor, _, ok, err = parseNeighbor(b)
		if e.Deleted {
			e.Neighbor.State = kstate.NeighborUnknown
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		var r parsedRoute
		r, err = parseRoute(b)
		e, ok = Event{Kind: RouteChanged, Deleted: typ == unix.RTM_DELROUTE, Route: r.Route}, r.protocol == kstate.Protocol
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		e, ok = Event{Kind: RuleChanged, Deleted: typ == unix.RTM_DELRULE}, true
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		var n kstate.Nexthop
		n, err = parseNexthop(b)
		e, ok = Event{Kind: NexthopChanged, Deleted: typ == unix.RTM_DELNEXTHOP, Nexthop: n.ID}, n.ID.Ours()
	}
	return e, ok && err == nil
}
