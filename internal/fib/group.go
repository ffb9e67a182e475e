package fib

import (
	"hash/fnv"

	"bothways/internal/kstate"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// LinkOf is the reverse of kstate.LinkNexthop.
func LinkOf(id kstate.NexthopID) (route.Link, route.Family, bool) {
	off := id - kstate.NexthopFirst
	f := route.Family(off >> 12)
	if id < kstate.NexthopFirst || id >= kstate.GroupFirst || f != route.IPv4 && f != route.IPv6 || off&0xfff > 255 || off&0xfff == 0 {
		return 0, 0, false
	}
	return route.Link(off & 0xff), f, true
}

// InsideNexthop is the id of the nexthop of the i-th router inside.
func InsideNexthop(i int) kstate.NexthopID {
	return kstate.NexthopFirst + 0x10000 + kstate.NexthopID(i)
}

// groups names the kernel's nexthop groups. A group's id follows from its ranking's content, so that a daemon that
// starts anew finds the groups of the one before it; collisions take the next free id.
type groups struct {
	family   route.Family
	rankings *rib.Rankings
	byRank   map[rib.RankingID]*group
	taken    map[kstate.NexthopID]rib.RankingID
}

type group struct {
	id     kstate.NexthopID
	refs   int
	behind int // of them, those of routes that are used only until the daemon knows that a carrier is lost
}

func newGroups(f route.Family, r *rib.Rankings) groups {
	return groups{f, r, map[rib.RankingID]*group{}, map[kstate.NexthopID]rib.RankingID{}}
}

const groupSpan = 1 << 18

func (g *groups) id(r rib.RankingID) kstate.NexthopID { return g.get(r).id }

func (g *groups) get(r rib.RankingID) *group {
	if have, ok := g.byRank[r]; ok {
		return have
	}
	base := kstate.GroupFirst + kstate.NexthopID(g.family)*groupSpan
	at := contentHash(g.rankings.Get(r)) % groupSpan
	for {
		id := base + kstate.NexthopID(at)
		if _, ok := g.taken[id]; !ok {
			g.taken[id] = r
			g.byRank[r] = &group{id: id}
			return g.byRank[r]
		}
		at = (at + 1) % groupSpan
	}
}

func contentHash(r rib.Ranking) uint32 {
	h := fnv.New32a()
	for _, t := range r.Tiers {
		for _, l := range t {
			h.Write([]byte{byte(l)})
		}
		h.Write([]byte{0})
	}
	if r.Drop {
		h.Write([]byte{0})
	}
	for _, t := range r.Tiers {
		for _, l := range t {
			if w := r.Weight(l); w != 1 {
				h.Write([]byte{0, byte(l), byte(w)})
			}
		}
	}
	return h.Sum32()
}

func (g *groups) hold(r rib.RankingID) kstate.NexthopID {
	have := g.get(r)
	have.refs++
	return have.id
}

func (g *groups) release(r rib.RankingID) {
	if have := g.byRank[r]; have != nil {
		have.refs--
		if have.refs <= 0 {
			delete(g.taken, have.id)
			delete(g.byRank, r)
		}
	}
}

// members are the links that a ranking's group consists of: what it resolves to, as far as the kernel can hold it.
func (g *groups) members(r rib.RankingID, s State) []route.Link {
	return keep(rib.Resolve(g.rankings.Get(r), s.Dead, s.Drained).Links, s.Present.Has)
}

// objects are the groups in use that have members, as kernel objects.
func (g *groups) objects(s State) []kstate.Nexthop {
	var out []kstate.Nexthop
	for r, have := range g.byRank {
		links := g.members(r, s)
		if len(links) == 0 {
			continue
		}
		n := kstate.Nexthop{ID: have.id, Family: g.family}
		for _, l := range links {
			n.Members = append(n.Members, kstate.Member{ID: kstate.LinkNexthop(l, g.family), Weight: g.rankings.Get(r).Weight(l)})
		}
		out = append(out, n)
	}
	return out
}
