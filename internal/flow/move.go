package flow

import "bothways/internal/route"

// Situation is what decides over the connections to one remote address on one link.
type Situation struct {
	// Lives: the link is alive, and its connections may stay. Reaches: it has a route to the address.
	Lives, Reaches bool
	// Ruled: a rule with a table of its own steers the connection. The mark of a dead link leads to our table instead of
	// the rule's, so such a connection cannot wait for a better way there.
	Ruled bool
	// Pinned: connections to the address do not stick, they follow Using at once.
	Pinned bool
	// Using are the living links that new connections to the address take now; none where nothing lives that reaches it.
	Using []route.Link
	// SamePool are the links that translate as the connection's link does, itself included.
	SamePool route.LinkSet
}

// Verdict says what becomes of a connection.
type Verdict uint8

// Verdicts.
const (
	Stay    Verdict = iota // on its link
	Carry                  // over to a link with the same pool: the connection lives on
	Cut                    // its address does not exist where its packets go now: the entry is deleted, so that the next packet opens it anew
	Nowhere                // there is no way to go to: cutting would help nobody
)

func (v Verdict) String() string {
	return [...]string{"stays", "is carried over", "is cut", "has nowhere to go"}[v]
}

// Judge decides over a connection of link l.
func Judge(l route.Link, s Situation) Verdict {
	using := route.NewLinkSet(s.Using...)
	if s.Lives && (using.Has(l) || s.Reaches && !s.Pinned) {
		return Stay
	}
	if s.Ruled && !s.Lives {
		return Cut
	}
	if using.Minus(route.NewLinkSet(l)).Empty() {
		return Nowhere
	}
	for _, u := range s.Using {
		if u != l && s.SamePool.Has(u) {
			return Carry
		}
	}
	return Cut
}
