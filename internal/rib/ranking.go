package rib

import (
	"slices"

	"bothways/internal/route"
)

// RankingID names an interned ranking. 0 is the ranking without tiers.
type RankingID uint32

// Ranking is the ordered tiers of links that traffic uses, first living tier first. It is immutable.
type Ranking struct {
	Tiers [][]route.Link
	// Weights share a tier among its links; nil: equally. A link that is not named has 1.
	Weights map[route.Link]uint8
	// Drop says that traffic is dropped when no link lives, instead of acting as if all did.
	Drop bool
}

// Links is the set of links that the ranking names.
func (r Ranking) Links() route.LinkSet {
	var s route.LinkSet
	for _, t := range r.Tiers {
		for _, l := range t {
			s.Add(l)
		}
	}
	return s
}

// Weight is the link's share of its tier beside the others' shares.
func (r Ranking) Weight(l route.Link) int { return max(int(r.Weights[l]), 1) }

// Rankings interns the rankings of one address family. It has one owner.
type Rankings struct {
	byKey  map[string]RankingID
	list   []Ranking
	sets   []route.LinkSet
	joined map[[2]RankingID]RankingID
	buf    []byte

	// What was asked for of late, in front of the maps: a table has few rankings, and each is asked for hundreds of thousands
	// of times.
	lateKeys  [64]lateKey
	lateJoins [64]lateJoin
}

type lateKey struct {
	key uint64 // behind its length; 0: none
	id  RankingID
}

type lateJoin struct{ own, cover, joined RankingID } // own 0: none

// late is a place in a list of 64.
func late(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> 58 }

// NewRankings returns an interner that knows the empty ranking.
func NewRankings() *Rankings {
	r := &Rankings{byKey: map[string]RankingID{}, joined: map[[2]RankingID]RankingID{}}
	r.Intern(Ranking{})
	return r
}

// Get returns an interned ranking.
func (rs *Rankings) Get(id RankingID) Ranking { return rs.list[id] }

// Links returns the set of links of an interned ranking.
func (rs *Rankings) Links(id RankingID) route.LinkSet { return rs.sets[id] }

// Len is the number of rankings interned so far.
func (rs *Rankings) Len() int { return len(rs.list) }

// Intern returns the id of a ranking with these tiers. Inside a tier the order of links does not matter.
func (rs *Rankings) Intern(r Ranking) RankingID {
	b := rs.buf[:0]
	for _, t := range r.Tiers {
		for _, l := range t {
			b = append(b, byte(l))
		}
		b = endTier(b, len(t))
	}
	if r.Drop {
		b = append(b, 0)
	}
	rs.buf = b
	if w := weights(r); len(w) > 0 {
		return rs.internWeighted(b, w, r)
	}
	return rs.internKey(b)
}

// weights are those of the ranking's links in their order; nil where every tier is shared equally. A link alone in its tier
// has 1.
func weights(r Ranking) []byte {
	if r.Weights == nil {
		return nil
	}
	var out []byte
	unequal := false
	for _, t := range r.Tiers {
		for _, l := range slices.Sorted(slices.Values(t)) {
			w := r.Weight(l)
			if len(t) == 1 {
				w = 1
			}
			out = append(out, byte(w))
			unequal = unequal || w != 1
		}
	}
	if !unequal {
		return nil
	}
	return out
}

// internWeighted interns a ranking with weights: its key has them behind three zeros, which no other key has.
func (rs *Rankings) internWeighted(plain, w []byte, r Ranking) RankingID {
	key := string(plain) + "\x00\x00" + string(w)
	if id, ok := rs.byKey[key]; ok {
		return id
	}
	same := rs.list[rs.internKey(plain)]
	own := Ranking{Tiers: same.Tiers, Drop: r.Drop, Weights: map[route.Link]uint8{}}
	i := 0
	for _, t := range own.Tiers {
		for _, l := range t {
			own.Weights[l] = w[i]
			i++
		}
	}
	id := RankingID(len(rs.list))
	rs.byKey[key] = id
	rs.list = append(rs.list, own)
	rs.sets = append(rs.sets, own.Links())
	return id
}

// endTier closes the tier of the last n links of a key: sorted, with a zero behind.
func endTier(key []byte, n int) []byte {
	if n > 1 {
		slices.Sort(key[len(key)-n:])
	}
	return append(key, 0)
}

// internKey takes a ranking as its key: links of a tier in ascending order and a zero, tier by tier, and one more zero
// for drop. It allocates only for a ranking never seen before.
func (rs *Rankings) internKey(key []byte) RankingID {
	if len(key) == 0 || len(key) > 7 {
		return rs.intern(key)
	}
	short := uint64(len(key))
	for _, b := range key {
		short = short<<8 | uint64(b)
	}
	l := &rs.lateKeys[late(short)]
	if l.key != short {
		*l = lateKey{short, rs.intern(key)}
	}
	return l.id
}

func (rs *Rankings) intern(key []byte) RankingID {
	if id, ok := rs.byKey[string(key)]; ok {
		return id
	}
	id := RankingID(len(rs.list))
	var r Ranking
	var tier []route.Link
	for _, b := range key {
		switch {
		case b != 0:
			tier = append(tier, route.Link(b))
		case tier == nil:
			r.Drop = true
		default:
			r.Tiers, tier = append(r.Tiers, tier), nil
		}
	}
	rs.byKey[string(key)] = id
	rs.list = append(rs.list, r)
	rs.sets = append(rs.sets, r.Links())
	return id
}

// Join returns the ranking of own's tiers followed by cover's, less the links already named.
func (rs *Rankings) Join(own, cover RankingID) RankingID {
	if own == 0 {
		return cover
	}
	if cover == 0 {
		return own
	}
	l := &rs.lateJoins[late(uint64(own)<<32|uint64(cover))]
	if l.own != own || l.cover != cover {
		*l = lateJoin{own, cover, rs.join(own, cover)}
	}
	return l.joined
}

func (rs *Rankings) join(own, cover RankingID) RankingID {
	key := [2]RankingID{own, cover}
	if id, ok := rs.joined[key]; ok {
		return id
	}
	named := rs.sets[own]
	joined := Ranking{Tiers: slices.Clone(rs.list[own].Tiers)}
	for _, t := range rs.list[cover].Tiers {
		if rest := without(t, named); len(rest) > 0 {
			joined.Tiers = append(joined.Tiers, rest)
		}
	}
	id := rs.Intern(joined)
	rs.joined[key] = id
	return id
}

func without(links []route.Link, named route.LinkSet) []route.Link {
	var rest []route.Link
	for _, l := range links {
		if !named.Has(l) {
			rest = append(rest, l)
		}
	}
	return rest
}
