package policy

import (
	"net/netip"

	"bothways/internal/route"
)

// Accept is a link's list of what to accept. The zero value accepts nothing (RFC 8212).
type Accept struct {
	All         bool
	Communities []route.Community
	Prefixes    []netip.Prefix // accepted with everything inside them
}

// Empty reports whether nothing is accepted.
func (a Accept) Empty() bool { return !a.All && len(a.Communities) == 0 && len(a.Prefixes) == 0 }

func (a Accept) attrs(at *route.Attrs) bool {
	if a.All {
		return true
	}
	for _, c := range a.Communities {
		if at.HasCommunity(c) {
			return true
		}
	}
	return false
}

func (a Accept) prefix(p netip.Prefix) bool {
	for _, have := range a.Prefixes {
		if route.Contains(have, p) {
			return true
		}
	}
	return false
}
