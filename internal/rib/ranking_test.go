package rib

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bothways/internal/route"
)

// TestInternIsExact: two rankings have one id just where they are the same, short and long, with weights and with drop, however
// often others were asked for in between; and what is joined is what joining says.
func TestInternIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := NewRankings()
		text := func(r Ranking) string {
			out := fmt.Sprint(r.Drop)
			for _, tier := range r.Tiers {
				out += " |"
				for _, l := range slices.Sorted(slices.Values(tier)) {
					w := r.Weight(l)
					if len(tier) == 1 {
						w = 1
					}
					out += fmt.Sprintf(" %d/%d", l, w)
				}
			}
			return out
		}
		ids := map[string]RankingID{text(Ranking{}): 0}
		check := func(r Ranking, id RankingID) {
			known, ok := ids[text(r)]
			if ids[text(r)] = id; ok && known != id {
				t.Fatalf("%s has the ids %d and %d", text(r), known, id)
			}
			if got := rs.Get(id); text(got) != text(r) || rs.Links(id) != r.Links() {
				t.Fatalf("%s is kept as %s of %v", text(r), text(got), rs.Links(id).Links())
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "rankings") {
			links := rapid.Permutation([]route.Link{1, 2, 3, 4, 5, 255}).Draw(t, "links")
			r := Ranking{Drop: rapid.Bool().Draw(t, "drop")}
			weighted := rapid.Bool().Draw(t, "weighted")
			for n := rapid.IntRange(0, len(links)).Draw(t, "n"); n > 0; {
				k := rapid.IntRange(1, n).Draw(t, "tier")
				r.Tiers = append(r.Tiers, links[:k])
				links, n = links[k:], n-k
			}
			for _, l := range r.Links().Links() {
				if weighted {
					if r.Weights == nil {
						r.Weights = map[route.Link]uint8{}
					}
					r.Weights[l] = uint8(rapid.IntRange(0, 3).Draw(t, "weight"))
				}
			}
			check(r, rs.Intern(r))
			all := RankingID(rs.Len() - 1)
			own, cover := RankingID(rapid.IntRange(0, int(all)).Draw(t, "own")), RankingID(rapid.IntRange(0, int(all)).Draw(t, "cover"))
			if own == 0 || cover == 0 {
				continue
			}
			joined := Ranking{Tiers: slices.Clone(rs.Get(own).Tiers)}
			for _, tier := range rs.Get(cover).Tiers {
				if rest := without(tier, rs.Links(own)); len(rest) > 0 {
					joined.Tiers = append(joined.Tiers, rest)
				}
			}
			check(joined, rs.Join(own, cover))
		}
		seen := map[RankingID]string{}
		for r, id := range ids {
			if other, ok := seen[id]; ok {
				t.Fatalf("%s and %s are both %d", r, other, id)
			}
			seen[id] = r
		}
	})
}

// TestGradeIsCompare: what a prefix is decided by tells candidates apart as the table of steps does, up to the tier.
func TestGradeIsCompare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func() Candidate {
			few := func(what string) uint32 {
				return rapid.SampledFrom([]uint32{0, 1, 2, 1 << 31, 1<<32 - 1}).Draw(t, what)
			}
			c := Candidate{
				Params: LinkParams{Path: rapid.IntRange(0, 3).Draw(t, "path"), Preference: few("preference"), Static: few("static")},
				Attrs:  &route.Attrs{}, Static: rapid.Bool().Draw(t, "is static"),
			}
			if !c.Static {
				c.Attrs.Path = route.SequencePath(make([]uint32, rapid.IntRange(0, 300).Draw(t, "length"))...)
				c.Attrs.Origin, c.Attrs.MED = rapid.SampledFrom([]route.Origin{route.OriginIGP, route.OriginEGP, route.OriginIncomplete}).Draw(t, "origin"), few("med")
			}
			return c
		}
		a, b := draw(), draw()
		want, step := Compare(&a, &b)
		if step > Tier {
			want = 0
		}
		x, y := a.Params.grade(worthOf(a.Attrs), a.Static), b.Params.grade(worthOf(b.Attrs), b.Static)
		if x.less(y) != (want < 0) || y.less(x) != (want > 0) {
			t.Fatalf("%+v and %+v: compared %d, grades %v and %v", a, b, want, x, y)
		}
	})
}
