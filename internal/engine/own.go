package engine

import (
	"net/netip"
	"slices"

	"bothways/internal/route"
)

// maxFound bounds the addresses of an interface that are taken for its link's.
const maxFound = 32

// own are the link's own addresses in a family: that of the file, else those that were on the interface last.
func (l *link) own(f route.Family) []netip.Addr {
	if a := l.Address(f); a.IsValid() {
		return []netip.Addr{a.Addr()}
	}
	return l.found[at(f)]
}

// findAddresses takes what is on the interface of a link that has its addresses from others, and reports whether that is
// something new. What was there last is kept where nothing is left: a link that dies changes no table, and the addresses that it gave to
// connections are its own until it has others.
func (l *link) findAddresses(on []netip.Prefix) (changed bool) {
	if !l.Auto {
		return false
	}
	for _, f := range route.Families() {
		var now []netip.Addr
		for _, p := range on {
			if a := p.Addr(); route.FamilyOf(a) == f && !a.IsLinkLocalUnicast() {
				now = append(now, a)
			}
		}
		slices.SortFunc(now, netip.Addr.Compare)
		now = slices.Compact(now)
		now = now[:min(len(now), maxFound)]
		if len(now) > 0 && !slices.Equal(now, l.found[at(f)]) {
			l.found[at(f)], changed = now, true
		}
	}
	return changed
}
