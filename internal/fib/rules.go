package fib

import (
	"bothways/internal/kstate"
	"bothways/internal/route"
)

// Rules are the policy rules of a family: marks of living links first, those of the steer rules that have a table of their own, of
// which there are steered, those of replies on links that do not reach everybody, those of this machine's own packets on links that
// are probed, then what others have in main but its defaults, then our table. A dead link has no rule, none
// whose connections shall move, and none that reaches nothing: what carries its mark follows the rankings. Replies keep to a link
// whose session has ended as long as it lives.
func Rules(f route.Family, links, replies []route.Link, reach, probed route.LinkSet, steered int, mask uint32, s State) []kstate.Rule {
	var out []kstate.Rule
	for _, l := range links {
		if s.Dead.Has(l) || s.Moved.Has(l) || !s.Present.Has(l) || !reach.Has(l) {
			continue
		}
		out = append(out, kstate.Rule{
			Family: f, Priority: kstate.PriorityLink + uint32(l), Table: kstate.Table + uint32(l),
			Mark: MarkOf(l, mask), Mask: mask, SuppressPrefixLength: -1,
		})
	}
	for i := range steered {
		out = append(out, kstate.Rule{
			Family: f, Priority: kstate.PrioritySteer + uint32(i), Table: kstate.SteerTable + uint32(i),
			Mark: SteerMark(i, mask), Mask: mask, SuppressPrefixLength: -1,
		})
	}
	for i, l := range replies {
		if (!s.Dead.Has(l) || s.Ended.Has(l)) && s.Present.Has(l) {
			out = append(out, kstate.Rule{
				Family: f, Priority: kstate.PriorityReply + uint32(l), Table: kstate.ReplyTable + uint32(l),
				Mark: ReplyMark(steered, i, mask), Mask: mask, SuppressPrefixLength: -1,
			})
		}
	}
	for _, l := range probed.Links() {
		// Probes of a dead link must still go by it, or it would stay dead.
		if s.Present.Has(l) {
			out = append(out, kstate.Rule{
				Family: f, Priority: kstate.PriorityProbe + uint32(l), Table: kstate.Table + uint32(l),
				Mark: MarkOf(l, mask), Mask: mask, SuppressPrefixLength: -1, Local: true,
			})
		}
	}
	return append(out,
		kstate.Rule{Family: f, Priority: kstate.PriorityMain, Table: kstate.MainTable, SuppressPrefixLength: 0},
		kstate.Rule{Family: f, Priority: kstate.PriorityTable, Table: kstate.Table, SuppressPrefixLength: -1})
}

// MarkOf is a link's number moved into the byte of the mark that is ours.
func MarkOf(l route.Link, mask uint32) uint32 { return uint32(l) * (mask & -mask) }

// SteerMark is the mark of the i-th steer rule that has a table of its own. Rules count down from the highest number, links
// up from the lowest.
func SteerMark(i int, mask uint32) uint32 { return MarkOf(route.Link(kstate.MaxLinks-i), mask) }

// ReplyMark is the mark of replies on the i-th link that does not reach everybody. They follow the marks of the steer rules.
func ReplyMark(steered, i int, mask uint32) uint32 { return SteerMark(steered+i, mask) }
