package nat

import (
	"fmt"
	"net/netip"
)

// Kind says what becomes of the source address of an inside network on a link.
type Kind uint8

// Kinds.
const (
	None      Kind = iota // leaves as it is
	Interface             // the interface's own address
	Pool                  // an address of a pool, kept per host
	Prefix                // IPv6: the same host part in another prefix, in both directions
)

// Entry is the translation of one inside network.
type Entry struct {
	Network netip.Prefix
	Kind    Kind
	To      netip.Prefix // the pool or the prefix
}

// String prints the right-hand side as the configuration has it.
func (e Entry) String() string {
	switch e.Kind {
	case None:
		return "none"
	case Interface:
		return "interface"
	case Pool, Prefix:
		return e.To.String()
	}
	return fmt.Sprintf("kind(%d)", uint8(e.Kind))
}
