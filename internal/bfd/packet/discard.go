package packet

import "fmt"

// Discard is why a packet does not count. It is a number, so that each reason can be counted without a search.
type Discard uint8

// Reasons. The last ones are found by who knows the sessions.
const (
	Accepted Discard = iota
	TooShort
	BadVersion
	BadLength
	ZeroMultiplier
	Multipoint
	ZeroMyDiscriminator
	ZeroYourDiscriminator
	Authenticated
	BadTTL
	UnknownDiscriminator
	UnknownNeighbor
	WrongInterface

	Discards // how many there are
)

func (d Discard) String() string {
	switch d {
	case Accepted:
		return "accepted"
	case TooShort:
		return "too short"
	case BadVersion:
		return "bad version"
	case BadLength:
		return "longer than its datagram"
	case ZeroMultiplier:
		return "multiplier 0"
	case Multipoint:
		return "multipoint"
	case ZeroMyDiscriminator:
		return "my discriminator 0"
	case ZeroYourDiscriminator:
		return "your discriminator 0 in a state that needs one"
	case Authenticated:
		return "authenticated, and no authentication is configured"
	case BadTTL:
		return "TTL or hop limit other than 255"
	case UnknownDiscriminator:
		return "your discriminator is of no session"
	case UnknownNeighbor:
		return "from no configured neighbor"
	case WrongInterface:
		return "came by another interface than the session's"
	}
	return fmt.Sprintf("Discard(%d)", uint8(d))
}
