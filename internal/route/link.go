package route

import "math/bits"

// Link is the number of a link, 1 to 255. It is the mark of the link's connections too; 0 is no link.
type Link uint8

// LinkSet is a set of links. The zero value is empty; sets are comparable.
type LinkSet [4]uint64

// NewLinkSet returns the set of the given links.
func NewLinkSet(links ...Link) LinkSet {
	var s LinkSet
	for _, l := range links {
		s.Add(l)
	}
	return s
}

// Add puts l into the set.
func (s *LinkSet) Add(l Link) { s[l>>6] |= 1 << (l & 63) }

// Remove takes l out of the set.
func (s *LinkSet) Remove(l Link) { s[l>>6] &^= 1 << (l & 63) }

// Has reports whether l is in the set.
func (s LinkSet) Has(l Link) bool { return s[l>>6]&(1<<(l&63)) != 0 }

// Union returns the links of either set.
func (s LinkSet) Union(o LinkSet) LinkSet {
	for i := range s {
		s[i] |= o[i]
	}
	return s
}

// Minus returns the links of s that are not in o.
func (s LinkSet) Minus(o LinkSet) LinkSet {
	for i := range s {
		s[i] &^= o[i]
	}
	return s
}

// Empty reports whether no link is in the set.
func (s LinkSet) Empty() bool { return s == LinkSet{} }

// Links lists the set's links in ascending order.
func (s LinkSet) Links() []Link {
	var out []Link
	for i, w := range s {
		for w != 0 {
			out = append(out, Link(i*64+bits.TrailingZeros64(w)))
			w &= w - 1
		}
	}
	return out
}
