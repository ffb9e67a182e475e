package kstate

import "fmt"

// ShaperHandle is the major number of our root queueing discipline on an interface. A root of another handle is somebody
// else's.
const ShaperHandle = 0x9800

// Shaper limits classes of what leaves an interface: a hierarchical token bucket (HTB) at its root. What is in no class
// passes.
type Shaper struct {
	Interface int // index
	// Take replaces a root that somebody else put there; otherwise such an interface is left alone.
	Take    bool
	Classes []Class // by minor number
}

// Class is a limit: what nftables puts into it by SetPriority leaves at no more than Rate.
type Class struct {
	Minor uint16
	Rate  uint64 // bits a second
}

// String prints the shaper as tc's arguments, the interface by its index.
func (s Shaper) String() string {
	text := fmt.Sprintf("qdisc dev #%d root handle %x: htb", s.Interface, ShaperHandle)
	for _, c := range s.Classes {
		text += fmt.Sprintf("; class %x:%x htb rate %dbit", ShaperHandle, c.Minor, c.Rate)
	}
	return text
}
