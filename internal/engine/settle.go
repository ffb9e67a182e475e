package engine

import (
	"slices"

	"bothways/internal/fib"
	"bothways/internal/kstate"
	"bothways/internal/nat"
	"bothways/internal/plan"
	"bothways/internal/route"
)

// sentState is what the reconciler was told last, so that it is told only what is new.
type sentState struct {
	objects plan.Objects
	mode    plan.Mode
	ruleset string
	sysctls []kstate.Sysctl
	shapers []kstate.Shaper
	states  [2]fib.State
	any     bool
	more    bool // it waits for the rest
}

// settle turns what happened into what is wanted, and hands it on. Groups go first: where a link died they are the
// whole failover, and the routes behind them may be a million.
func (e *Engine) settle() {
	var mode plan.Mode
	e.restart, mode = e.restart.Next(e.now, e.waiting())
	if e.sent.any && mode != e.sent.mode {
		e.note("restart", "kernel", "now "+modeText(mode))
	}
	first := mode
	if e.sent.any && mode == plan.Full && e.sent.mode != plan.Full {
		// What is wanted is all that stays, so it is decided now, and nothing goes before that.
		first = plan.Adopt
		for _, t := range e.tables {
			e.takeStaged(t)
		}
	}
	if e.sent.any && e.statesChanged() {
		e.noteMoves()
		// With a rebuild pending the groups have new names: without their routes they would take the old routes along.
		if !e.replace {
			e.submit(first, false)
		}
	}
	e.walking = true
	for _, t := range e.tables {
		for _, l := range t.down.Links() {
			t.table.RemoveLink(l)
		}
		e.takeDue(t, t.wants)
	}
	for _, t := range e.tables { // behind both: a link may fail while the second is decided
		t.down = route.LinkSet{} // only now: lots name groups that are still there for routes of before
		t.fib.Small(e.state(t), t.wants)
		e.noteLostRoutes(t)
	}
	e.walking = false
	e.notePins()
	e.submit(mode, true)
	e.turnOutages()
	if e.changed {
		e.lookAtSymmetry()
		e.publish()
		e.changed = false
	}
}

func modeText(m plan.Mode) string {
	switch m {
	case plan.Full:
		return "the neighbors have said everything, or had the time to: what is stale goes"
	case plan.Adopt:
		return "a link died: what is known is put in, nothing is deleted yet"
	}
	return m.String()
}

func (e *Engine) statesChanged() bool {
	for i, t := range e.tables {
		if e.state(t) != e.sent.states[i] {
			return true
		}
	}
	return len(e.lost) > 0
}

// submit tells the reconciler what is new. Without routes it is the first, quick half of a failover, also in the middle of a walk.
func (e *Engine) submit(mode plan.Mode, withRoutes bool) {
	if e.withdrawn {
		return
	}
	b := e.batch(mode)
	b.Lost, b.More = e.lost, e.walking
	rules, text := e.ruleset()
	if text != e.sent.ruleset {
		b.Ruleset = rules
	}
	b.Replace = withRoutes && e.replace
	for i, t := range e.tables {
		switch {
		case !withRoutes:
		case b.Routes == nil:
			b.Routes = append(t.changes, t.later...) // maybe a million, and nobody else's from here on
		default:
			b.Routes = append(append(b.Routes, t.changes...), t.later...)
		}
		e.sent.states[i] = e.state(t)
	}
	if e.sent.any && !e.sent.more && b.Ruleset == nil && !b.Replace && len(b.Routes) == 0 && len(b.Lost) == 0 && mode == e.sent.mode &&
		slices.Equal(b.Sysctls, e.sent.sysctls) && equalShapers(b.Shapers, e.sent.shapers) && equalObjects(b.Objects, e.sent.objects) {
		return
	}
	if withRoutes {
		for _, t := range e.tables {
			t.changes, t.later = nil, nil
		}
		e.replace = false
	}
	e.lost = nil
	e.sequence++
	b.Sequence = e.sequence
	if b.Ruleset != nil {
		e.tableSequence = e.sequence
	}
	e.sent.objects, e.sent.mode, e.sent.ruleset, e.sent.sysctls, e.sent.shapers, e.sent.any = b.Objects, mode, text, b.Sysctls, b.Shapers, true
	e.sent.more = b.More
	e.outagesAnswered(withRoutes)
	if withRoutes {
		e.findWays()
	}
	for k, sequence := range e.moves {
		if sequence == 0 {
			e.moves[k] = e.sequence
		}
	}
	e.deps.Kernel.Submit(b)
	e.changed = true
}

// batch is what is wanted now, but for routes and the ruleset.
func (e *Engine) batch(mode plan.Mode) plan.Batch {
	b := plan.Batch{Mode: mode, Objects: e.objects(), Shapers: shapers(e.cfg, e.links)}
	var links []fib.SysctlLink
	for _, l := range e.links {
		if l.index != 0 {
			links = append(links, fib.SysctlLink{Interface: l.Interface, Automatic: l.Auto})
		}
	}
	b.Sysctls = fib.Sysctls(links, e.insidePresent())
	for _, t := range e.tables {
		for _, l := range e.state(t).Dead.Links() {
			b.Dead = append(b.Dead, kstate.LinkNexthop(l, t.f))
		}
	}
	return b
}

func equalShapers(a, b []kstate.Shaper) bool {
	return slices.EqualFunc(a, b, func(x, y kstate.Shaper) bool {
		return x.Interface == y.Interface && x.Take == y.Take && slices.Equal(x.Classes, y.Classes)
	})
}

func equalObjects(a, b plan.Objects) bool {
	return slices.EqualFunc(a.Nexthops, b.Nexthops, kstate.Nexthop.Equal) && slices.Equal(a.Rules, b.Rules) && slices.Equal(a.First, b.First)
}

// objects is the small state that the kernel shall hold.
func (e *Engine) objects() plan.Objects {
	var o plan.Objects
	for _, t := range e.tables {
		s := e.state(t)
		var numbers []route.Link
		for _, l := range e.links {
			numbers = append(numbers, l.number)
			hop, ok := l.hop(t.f)
			if ok && s.Present.Has(l.number) {
				o.Nexthops = append(o.Nexthops, kstate.Nexthop{
					ID: kstate.LinkNexthop(l.number, t.f), Family: t.f, Interface: l.index, Gateway: hop.WithZone(""),
				})
			}
		}
		o.Nexthops = append(o.Nexthops, t.inside...)
		o.Nexthops = append(o.Nexthops, t.fib.Groups(s)...)
		o.First = append(o.First, t.fib.First()...)
		o.Rules = append(o.Rules, fib.Rules(t.f, numbers, replyLinks(e.links), t.fib.Reach(), e.probedLinks(), selective(e.cfg), e.cfg.Mark, s)...)
	}
	return o
}

// ruleset is the nftables table. It follows from the configuration, the links' numbers, the addresses that others give them and what
// paths announce, and from no state of a link, so that a failover neither computes nor replaces it.
func (e *Engine) ruleset() (*kstate.Ruleset, string) {
	if e.table.rules == nil {
		e.table.params = natParams(e.cfg, e.links, e.learned)
		rules := nat.Ruleset(e.table.params)
		e.table.rules, e.table.text = &rules, rules.String()
	}
	return e.table.rules, e.table.text
}

// samePool are the links that translate as l does in a family.
func (e *Engine) samePool(l route.Link, f route.Family) route.LinkSet {
	e.ruleset()
	return nat.SamePool(e.table.params.Links, l, f)
}

// table is the nftables table as it was computed last.
type table struct {
	params nat.Params
	rules  *kstate.Ruleset // nil: to be computed anew
	text   string
}

// insidePresent are the inside interfaces that exist.
func (e *Engine) insidePresent() []string {
	var out []string
	for _, in := range e.interfaces {
		if slices.Contains(e.cfg.Inside.Interfaces, in.Name) {
			out = append(out, in.Name)
		}
	}
	slices.Sort(out)
	return out
}

// withdraw makes nothing be wanted any more, whatever happens until the end.
func (e *Engine) withdraw() {
	e.withdrawn = true
	e.sequence++
	b := plan.Batch{Replace: true, Ruleset: &kstate.Ruleset{}, Shapers: shapers(e.cfg, e.links), Sequence: e.sequence}
	for i := range b.Shapers {
		b.Shapers[i].Classes = nil
	}
	e.deps.Kernel.Submit(b)
}
