package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bothways/internal/config"
	"bothways/internal/fib"
	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/nat"
	"bothways/internal/plan"
	"bothways/internal/policy"
	"bothways/internal/rib"
	"bothways/internal/route"
	"bothways/internal/track"
)

// Snapshot is the published state. It is immutable.
type Snapshot struct {
	Site     string
	At       time.Time
	Mode     plan.Mode
	Waiting  int
	Mask     uint32 // of the mark
	Sequence uint64 // of the last batch handed to the reconciler
	Links    []LinkView
	Paths    []PathView
	Rankings []RankingView
	Steer    []SteerView
	Proofs   []ProofView
	Symmetry SymmetryView
	Flows    FillView
	Use      []UseView
	Journal  []JournalEntry
	// Failovers counts them.
	Failovers *Failovers
	Findings  []config.Finding
	Prefixes  [2]int // by family, rejected ones included
}

// LinkView is a link.
type LinkView struct {
	Name, Path, Interface string
	Number                route.Link
	Mark                  uint32 // in Snapshot.Mask
	BGP                   bool
	Index                 int
	Drained, Moved        bool
	Carrier               track.State
	Families              []LinkFamilyView
}

// LinkFamilyView is a link in one family that it carries.
type LinkFamilyView struct {
	Family   route.Family
	Address  netip.Prefix
	Neighbor netip.Addr
	Track    track.State
	BFD      track.State
	Probes   track.Probes
	HasBFD   bool
	Usable   bool
	Up       bool // the session
	Complete bool
	Stale    bool
	Counts   rib.Counts
	Limit    int
	Level    policy.LimitLevel // towards Limit
	Held     int               // prefixes that the neighbor took back, and that are kept
	Astray   Astray
	// Unanswered counts connections that inside hosts opened and that nobody has answered, when they were looked at last, at
	// Surveyed; zero: never.
	Unanswered int
	Surveyed   time.Time
}

// PathView is a path.
type PathView struct {
	Name, Provider, Peering string
	Capacity                uint64
	Circuit                 bool
	Links                   []string
	Announce                []netip.Prefix
	Prepend                 int
	NAT                     []nat.Entry
}

// FillView is how full the table of connections is.
type FillView struct {
	Count, Limit int
	Level        flow.Level
}

// RankingView is a ranking in use.
type RankingView struct {
	Family  route.Family
	Group   kstate.NexthopID
	Tiers   [][]string
	Weights map[string]int // of links that share a tier unequally
	Drop    bool
	Routes  int
	Outcome rib.Outcome
	Using   []string
}

// SteerView is a steer rule with what it comes to for one of its destinations.
type SteerView struct {
	Name string
	From []netip.Prefix
	To   string // a prefix, learned/PATH, or any
	AnswerView
}

// AnswerView is what a destination is sent by.
type AnswerView struct {
	Match   netip.Prefix // invalid: nothing matches
	Steer   string
	Tiers   [][]string
	Weights map[string]int // of links that share a tier unequally
	Outcome rib.Outcome
	Using   []string
}

func (e *Engine) publish() {
	_, mode := e.restart.Next(e.now, e.waiting())
	s := &Snapshot{Site: e.cfg.Site, At: e.now, Mode: mode, Waiting: e.waiting(), Mask: e.cfg.Mark, Sequence: e.sequence, Journal: slices.Clone(e.journal.entries), Failovers: e.tally.publish()}
	for _, l := range e.links {
		s.Links = append(s.Links, e.viewLink(l))
	}
	for _, p := range e.cfg.Paths {
		v := PathView{Name: p.Name, Provider: p.Provider.Name, Peering: p.Peering, Capacity: p.Capacity, Circuit: p.Provider.Circuit, Announce: p.Announce, Prepend: p.Prepend, NAT: p.NAT}
		for _, l := range p.Links {
			v.Links = append(v.Links, l.FullName())
		}
		s.Paths = append(s.Paths, v)
	}
	for i, t := range e.tables {
		s.Prefixes[i] = t.table.Len()
		state := e.state(t)
		for _, u := range t.fib.InUse() {
			now := rib.Resolve(u.Ranking, state.Dead, state.Drained)
			s.Rankings = append(s.Rankings, RankingView{
				Family: t.f, Group: u.ID, Tiers: e.tierNames(u.Ranking), Weights: e.weights(u.Ranking), Drop: u.Ranking.Drop, Routes: u.Routes,
				Outcome: now.Outcome, Using: e.names(now.Links),
			})
		}
	}
	s.Steer = e.viewSteer()
	s.Findings = e.findings()
	s.Proofs = e.viewProofs()
	s.Symmetry = e.symmetry.view
	s.Flows, s.Use = FillView{e.fill.count, e.fill.limit, e.fill.level}, e.viewUse()
	e.snapshot.Store(s)
}

func (e *Engine) viewLink(l *link) LinkView {
	v := LinkView{Name: l.FullName(), Path: l.Path, Interface: l.Interface, Number: l.number, Mark: fib.MarkOf(l.number, e.cfg.Mark), BGP: l.BGP, Index: l.index, Carrier: l.tracks.Carrier}
	v.Drained, v.Moved = e.tables[0].drained.Has(l.number), e.tables[0].moved.Has(l.number)
	for _, f := range route.Families() {
		hop, ok := l.hop(f)
		if !ok {
			continue
		}
		s, n := l.session[at(f)], e.tables[at(f)].table.Counts(l.number)
		n.Received += n.Staged // what waits to be decided was received
		survey := e.surveyOf(moveKey{l.number, f})
		v.Families = append(v.Families, LinkFamilyView{
			Family: f, Address: l.Address(f), Neighbor: hop, Track: *l.tracks.Neighbor(f), BFD: *l.tracks.BFD(f), Probes: *l.tracks.Probe(f), HasBFD: l.Link.BFD != nil, Usable: l.tracks.Usable(f) && l.index != 0,
			Up: s.up, Complete: s.complete, Stale: s.stale, Counts: n, Limit: l.Limit.Max, Level: s.level, Held: e.heldOf(l, f),
			Astray: survey.known, Unanswered: survey.unanswered, Surveyed: survey.at,
		})
	}
	return v
}

func (e *Engine) heldOf(l *link, f route.Family) int {
	s := l.session[at(f)]
	switch {
	case s.held != nil:
		return len(s.held.prefixes)
	case s.sparing:
		return e.tables[at(f)].table.Counts(l.number).Stale
	}
	return 0
}

func (e *Engine) names(links []route.Link) []string {
	out := make([]string, 0, len(links))
	for _, n := range links {
		name := "?"
		for _, l := range e.links {
			if l.number == n {
				name = l.FullName()
			}
		}
		out = append(out, name)
	}
	slices.SortStableFunc(out, strings.Compare)
	return out
}

func (e *Engine) tierNames(r rib.Ranking) [][]string {
	var out [][]string
	for _, t := range r.Tiers {
		out = append(out, e.names(t))
	}
	return out
}

func (e *Engine) weights(r rib.Ranking) map[string]int {
	var out map[string]int
	for _, t := range r.Tiers {
		for _, l := range t {
			if w := r.Weight(l); w != 1 {
				if out == nil {
					out = map[string]int{}
				}
				out[e.names([]route.Link{l})[0]] = w
			}
		}
	}
	return out
}

func (e *Engine) answer(dst netip.Prefix) AnswerView {
	t := e.tables[at(route.FamilyOf(dst.Addr()))]
	a := t.fib.Lookup(dst, e.state(t))
	return viewAnswer(e, a)
}

func viewAnswer(e *Engine, a fib.Answer) AnswerView {
	return AnswerView{Match: a.Prefix, Steer: a.Steer, Tiers: e.tierNames(a.Ranking), Weights: e.weights(a.Ranking), Outcome: a.Now.Outcome, Using: e.names(a.Now.Links)}
}

func (e *Engine) viewSteer() []SteerView {
	var out []SteerView
	for i, st := range e.cfg.Steer {
		add := func(to string, example netip.Prefix) {
			t := e.tables[at(route.FamilyOf(example.Addr()))]
			a := t.fib.Lookup(example, e.state(t))
			if st.Selective() {
				a = t.fib.LookupSteered(i, example, e.state(t))
			}
			out = append(out, SteerView{st.Name, st.From, to, viewAnswer(e, a)})
		}
		for _, to := range st.To {
			add(to.String(), to)
		}
		for _, path := range st.Learned {
			to := fmt.Sprintf("learned/%s (%d prefixes)", path, len(e.learned[path]))
			if len(e.learned[path]) > 0 {
				add(to, e.learned[path][0])
			} else {
				out = append(out, SteerView{Name: st.Name, From: st.From, To: to})
			}
		}
		if len(st.To)+len(st.Learned) == 0 {
			add("any", route.IPv4.Default())
		}
	}
	return out
}
