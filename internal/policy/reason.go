package policy

import "fmt"

// Reason says why a route is rejected; Accepted is the zero value.
type Reason uint8

// Reasons, in the order in which they are looked for.
const (
	Accepted Reason = iota
	OwnAS
	FirstAS
	EmptyPath
	NextHop
	Leak
	Martian
	OwnPrefix
	CircuitDefault
	CircuitPrivate
	NotAccepted
)

// String gives the reason in words.
func (r Reason) String() string {
	switch r {
	case Accepted:
		return "accepted"
	case OwnAS:
		return "own AS in the path"
	case FirstAS:
		return "path does not begin with the neighbor's AS"
	case EmptyPath:
		return "empty AS path"
	case NextHop:
		return "next hop is not the link's neighbor"
	case Leak:
		return "only-to-customer route from the wrong side (RFC 9234)"
	case Martian:
		return "martian prefix"
	case OwnPrefix:
		return "equals or lies inside an own prefix"
	case CircuitDefault:
		return "default route on a circuit"
	case CircuitPrivate:
		return "private prefix on a circuit"
	case NotAccepted:
		return "matches no accept entry"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}
