package engine

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"bothways/internal/config"
	"bothways/internal/fib"
	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// moveKey names the connections of a link in a family.
type moveKey struct {
	link   route.Link
	family route.Family
}

// sweepPause gathers what a link loses before its connections are looked at.
const sweepPause = time.Second

func (e *Engine) flowMark(l route.Link, f route.Family) flow.Mark {
	return flow.Mark{Family: f, Link: l, Value: fib.MarkOf(l, e.cfg.Mark), Mask: e.cfg.Mark}
}

// noteMoves remembers whose connections to look at after a change of links: those of every dead link. What a link left
// behind when it died may have been carried to one that dies now, or had nowhere to go until now.
func (e *Engine) noteMoves() {
	e.surveySoon()
	for i, t := range e.tables {
		before, now := e.sent.states[i].Dead, e.state(t).Dead
		e.noteLoose(t)
		e.noteLooseLinks(t)
		for _, l := range e.links {
			if !l.Has(t.f) {
				continue
			}
			if before != now && now.Has(l.number) || !e.sent.states[i].Moved.Has(l.number) && t.moved.Has(l.number) {
				e.moves[moveKey{l.number, t.f}] = 0
			}
		}
	}
}

// noteAllMoves has all connections looked at: by another configuration their links may reach less, and rules say otherwise.
func (e *Engine) noteAllMoves() {
	for _, l := range e.links {
		for _, f := range route.Families() {
			if l.Has(f) {
				e.moves[moveKey{l.number, f}] = 0
			}
		}
	}
}

// noteLostRoutes has the connections of links looked at that no longer reach what they did; and of links that others may be
// better than now, where a rule lets connections follow at once.
func (e *Engine) noteLostRoutes(t *family) {
	var lost, gained route.LinkSet
	for _, c := range t.later {
		if c.Route.Metric != kstate.MetricRanking {
			continue // where it goes without the link
		}
		l := route.Link(c.Route.Table - kstate.Table)
		if c.Delete {
			lost.Add(l)
		} else {
			gained.Add(l)
		}
	}
	for _, s := range e.cfg.Steer {
		var used route.LinkSet
		for _, name := range slices.Concat(s.Use...) {
			used = used.Union(pathLinks(e.links, name))
		}
		if follows(s) && used.Minus(gained) != used {
			lost = lost.Union(used)
		}
	}
	if !gained.Empty() {
		for _, l := range e.links {
			if e.loose(l.number) && gained.Minus(route.NewLinkSet(l.number)) != (route.LinkSet{}) {
				lost.Add(l.number)
			}
		}
	}
	for _, l := range e.links {
		key := dueKey{"sweep", SessionKey{l.FullName(), t.f}}
		if _, waits := e.due[key]; lost.Has(l.number) && !waits {
			e.at(key, sweepPause)
		}
	}
}

// follows reports whether connections under a rule follow it at once, other than pins by the destination alone, which are
// looked at by their own addresses.
func follows(s config.Steer) bool { return s.Hard || !s.Sticky && (!s.Pin() || s.Selective()) }

// notePins has connections looked at that do not stick, when what their rule uses has changed: of pins by their own
// address, of other such rules at each change of links.
func (e *Engine) notePins() {
	now := map[netip.Prefix][]route.Link{}
	for _, s := range e.cfg.Steer {
		if s.Sticky || !s.Pin() || s.Selective() {
			continue
		}
		for _, to := range s.To {
			t := e.tables[at(route.FamilyOf(to.Addr()))]
			now[to] = t.fib.Lookup(to, e.state(t)).Now.Links
		}
	}
	for to, links := range now {
		before, known := e.pins[to]
		if slices.Equal(before, links) {
			continue
		}
		if !known {
			// Until now its connections went by any link that reaches it.
			for _, l := range e.links {
				if l.Has(route.FamilyOf(to.Addr())) {
					before = append(before, l.number)
				}
			}
		}
		for _, l := range before {
			if !slices.Contains(links, l) {
				e.moves[moveKey{l, route.FamilyOf(to.Addr())}] = 0
			}
		}
	}
	e.pins = now
}

// noteLoose has the connections of rules looked at that do not stick, on whichever link of the rule they are.
func (e *Engine) noteLoose(t *family) {
	for _, s := range e.cfg.Steer {
		if !follows(s) {
			continue
		}
		for _, name := range slices.Concat(s.Use...) {
			for _, l := range pathLinks(e.links, name).Links() {
				e.moves[moveKey{l, t.f}] = 0
			}
		}
	}
}

// loose reports whether connections on a link that no rule covers follow what is preferred now.
func (e *Engine) loose(l route.Link) bool {
	return e.cfg.Observe || slices.ContainsFunc(e.links, func(x *link) bool { return x.number == l && x.path.Loose })
}

// noteLooseLinks has the connections of paths looked at on which they do not stick.
func (e *Engine) noteLooseLinks(t *family) {
	for _, l := range e.links {
		if e.loose(l.number) && l.Has(t.f) {
			e.moves[moveKey{l.number, t.f}] = 0
		}
	}
}

// flowRules are the steer rules as connections are matched with them; nil where one cannot be seen in a connection, or
// matches nothing now.
func (e *Engine) flowRules() []*flow.Rule {
	out := make([]*flow.Rule, len(e.cfg.Steer))
	for i, s := range e.cfg.Steer {
		to := destinations(s, e.learned)
		if s.DSCP == nil && (len(to) > 0 || len(s.Learned) == 0) {
			out[i] = flow.NewRule(flow.RuleParams{From: s.From, To: to, Protocol: uint8(s.Protocol), Ports: s.Ports})
		}
	}
	return out
}

// moveFlows acts on connections once the kernel sends their packets the new way: never before.
func (e *Engine) moveFlows(applied uint64) {
	keys := slices.SortedFunc(maps.Keys(e.moves), func(a, b moveKey) int {
		return cmp.Or(cmp.Compare(a.family, b.family), cmp.Compare(a.link, b.link))
	})
	for _, k := range keys {
		if sequence := e.moves[k]; sequence == 0 || sequence > applied {
			continue
		}
		delete(e.moves, k)
		t := e.tables[at(k.family)]
		s := e.state(t)
		mark := e.flowMark(k.link, k.family)
		if !slices.ContainsFunc(e.links, func(l *link) bool { return l.number == k.link }) {
			e.deps.Flows.Flush(mark) // there is no such link any more, and its number may be given to another
			continue
		}
		_, rank, _ := t.table.Lookup(t.f.Default())
		everywhere := rib.Resolve(t.table.Rankings().Get(rank), s.Dead, s.Drained).Outcome == rib.Living
		alike := e.samePool(k.link, k.family).Minus(s.Dead)
		if s.Dead.Has(k.link) && everywhere && alike.Empty() {
			// Every destination has another way, and none with the addresses that these connections have.
			e.deps.Flows.Flush(mark)
			continue
		}
		e.deps.Flows.List(mark)
	}
}

// judgeFlows decides over connections one by one, and counts those that are not where they would be opened now.
func (e *Engine) judgeFlows(ev FlowsListed) {
	key := moveKey{ev.Mark.Link, ev.Mark.Family}
	count := e.surveyOf(key)
	t := e.tables[at(ev.Mark.Family)]
	s := e.state(t)
	same := e.samePool(ev.Mark.Link, ev.Mark.Family)
	rules := e.flowRules()
	var cut []flow.Flow
	for _, f := range ev.Flows {
		dst := netip.PrefixFrom(f.Remote(), f.Remote().BitLen())
		_, rank, _ := t.table.Lookup(dst)
		pinned, ruled, now := false, false, t.fib.Lookup(dst, s).Now
		if i := slices.IndexFunc(rules, func(r *flow.Rule) bool { return r != nil && r.Matches(f) }); i >= 0 {
			pinned = !e.cfg.Steer[i].Sticky || e.cfg.Steer[i].Hard || e.loose(ev.Mark.Link)
			if ruled = e.cfg.Steer[i].Selective(); ruled {
				now = t.fib.LookupSteered(i, dst, s).Now
			}
		} else {
			pinned = e.loose(ev.Mark.Link)
		}
		var using []route.Link
		if now.Outcome == rib.Living || now.Outcome == rib.Drained {
			using = now.Links
		}
		situation := flow.Situation{
			Lives: !s.Dead.Has(ev.Mark.Link) && !s.Moved.Has(ev.Mark.Link), Reaches: t.table.Rankings().Links(rank).Has(ev.Mark.Link),
			Pinned: pinned, Using: using, SamePool: same,
		}
		situation.Ruled = ruled
		if flow.Judge(ev.Mark.Link, situation) == flow.Cut {
			cut = append(cut, f)
		}
		count.note(ev.Mark.Link, f, e.cfg.Inside.Networks, situation)
	}
	if !ev.More {
		e.surveyed(key)
	}
	if len(cut) > 0 && !ev.Mark.Counted {
		e.deps.Flows.Delete(ev.Mark, cut)
	}
}

// flowsDeleted is for the journal.
func flowsText(n int) string {
	if n == 1 {
		return "1 connection cut: its address does not exist on the way that it would go now"
	}
	return fmt.Sprintf("%d connections cut: their addresses do not exist on the ways that they would go now", n)
}
