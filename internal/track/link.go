package track

import "bothways/internal/route"

// Link is all evidence about one link.
type Link struct {
	Carrier   State
	Neighbors [2]State // by family
	BFDs      [2]State // by family; a session that an operator ended is not observed, and one never up neither
	Probes    [2]Probes
}

// BFD returns the track of the BFD session in a family.
func (l *Link) BFD(f route.Family) *State { return &l.BFDs[f-route.IPv4] }

// Probe returns the track of the probes in a family.
func (l *Link) Probe(f route.Family) *Probes { return &l.Probes[f-route.IPv4] }

// Neighbor returns the track of the neighbor in a family.
func (l *Link) Neighbor(f route.Family) *State { return &l.Neighbors[f-route.IPv4] }

// Usable reports whether the link may carry traffic of a family: every track that applies is up.
func (l Link) Usable(f route.Family) bool {
	i := f - route.IPv4
	return l.Carrier.Up() && l.Neighbors[i].Up() && l.BFDs[i].Up() && l.Probes[i].Up()
}
