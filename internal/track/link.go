package track

import "bothways/internal/route"

// Link is all evidence about one link.
type Link struct {
	Carrier   State
	Neighbors [2]State // by family
}

// Neighbor returns the track of the neighbor in a family.
func (l *Link) Neighbor(f route.Family) *State { return &l.Neighbors[f-route.IPv4] }

// Usable reports whether the link may carry traffic of a family: every track that applies is up.
func (l Link) Usable(f route.Family) bool {
	return l.Carrier.Up() && l.Neighbors[f-route.IPv4].Up()
}
