package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"bothways/internal/config"
	"bothways/internal/fib"
	"bothways/internal/flow"
	"bothways/internal/nat"
	"bothways/internal/proof"
	"bothways/internal/route"
	"bothways/internal/track"
)

// Bounds of what proofs cost.
const (
	provedAtOnce = 8                     // proofs that one turn starts
	provePause   = 50 * time.Millisecond // before the next ones
	proveRetry   = 2 * time.Second
	proveMisses  = 3
	seenTargets  = 32 // who answered connections, in each family
	seenEnough   = 4
	seenEvery    = time.Minute // looking for who answers, until there are enough
	seenRenew    = 10 * time.Minute
)

// ProvenKind says what a proven address is to its link.
type ProvenKind string

// Kinds.
const (
	ProvenOwn       ProvenKind = "own"       // the link's own address, as a yardstick
	ProvenPool      ProvenKind = "pool"      // of a pool
	ProvenPublished ProvenKind = "published" // of a published host
	ProvenInside    ProvenKind = "inside"    // of a public inside network that leaves as it is
)

type proven struct {
	address netip.Addr
	kind    ProvenKind
}

// provenAddresses are what a link gives to connections, but its own address: samples of its pools, published hosts, and
// public networks that are not translated.
func provenAddresses(p *config.Path, l *link) []proven {
	if p.Prove == nil {
		return nil
	}
	var out []proven
	add := func(kind ProvenKind, list ...netip.Addr) {
		for _, a := range list {
			known := slices.ContainsFunc(out, func(x proven) bool { return x.address == a })
			if own := l.own(route.FamilyOf(a)); len(own) > 0 && !slices.Contains(own, a) && !known {
				out = append(out, proven{a, kind})
			}
		}
	}
	for _, x := range p.Publish {
		add(ProvenPublished, x.Outside)
	}
	for _, e := range p.NAT {
		switch e.Kind {
		case nat.Pool, nat.Prefix:
			add(ProvenPool, proof.Sample(e.To, p.Prove.Addresses)...)
		case nat.None:
			if !e.Network.Addr().IsPrivate() {
				add(ProvenInside, proof.Sample(e.Network, min(p.Prove.Addresses, 2))...)
			}
		}
	}
	return out
}

// proofTokens are the tokens of a link's proven addresses.
func proofTokens(list []proven) map[netip.Addr]uint16 {
	addresses := make([]netip.Addr, 0, len(list))
	for _, x := range list {
		addresses = append(addresses, x.address)
	}
	return proof.Tokens(addresses)
}

// proofs is what is known of the ways back.
type proofs struct {
	states map[proof.Subject]proof.State
	kinds  map[proof.Subject]ProvenKind
	order  []proof.Subject
	seen   [2][]proof.Target // who answered connections, the latest last
}

func proofParams(p *config.Path) proof.Params {
	return proof.Params{Every: p.Prove.Every, Retry: proveRetry, Misses: proveMisses}
}

// setProofs brings the subjects to what is configured and known, and keeps what was found of those that stay.
func (e *Engine) setProofs() {
	before := e.proofs
	e.proofs = proofs{states: map[proof.Subject]proof.State{}, kinds: map[proof.Subject]ProvenKind{}, seen: before.seen}
	add := func(l *link, a netip.Addr, kind ProvenKind) {
		s := proof.Subject{Link: l.FullName(), Address: a}
		if _, ok := e.proofs.kinds[s]; ok {
			return
		}
		e.proofs.states[s], e.proofs.kinds[s] = before.states[s], kind
		e.proofs.order = append(e.proofs.order, s)
	}
	look := false
	for _, l := range e.links {
		if l.path.Prove == nil {
			continue
		}
		look = look || len(l.path.ProveTargets()) == 0
		for _, f := range route.Families() {
			if own := e.source(l, f); own.IsValid() {
				add(l, own, ProvenOwn)
			}
		}
		for _, x := range provenAddresses(l.path, l) {
			add(l, x.address, x.kind)
		}
	}
	delete(e.due, dueKey{what: "prove"})
	if len(e.proofs.order) > 0 {
		e.at(dueKey{what: "prove"}, provePause)
	}
	if _, waits := e.due[dueKey{what: "seen"}]; look && !waits {
		e.at(dueKey{what: "seen"}, proveRetry)
	} else if !look {
		delete(e.due, dueKey{what: "seen"})
	}
	e.changed = true
}

// prove asks for what is due, a few at a time.
func (e *Engine) prove() {
	if e.table.rules == nil || e.tableSequence > e.appliedSequence {
		// The kernel has no table yet that translates what would be sent.
		e.at(dueKey{what: "prove"}, provePause)
		return
	}
	started := 0
	next := e.now.Add(time.Hour)
	for _, s := range e.proofs.order {
		l, st := e.linkNamed(s.Link), e.proofs.states[s]
		f := route.FamilyOf(s.Address)
		source := e.source(l, f)
		if !source.IsValid() || !l.usable()[at(f)] || !l.carrier {
			// What was found no longer holds, and nothing can be found now.
			e.changed = e.changed || st.Verdict != proof.Unknown
			st = proof.State{Next: e.now.Add(proveRetry), Waiting: st.Waiting}
		} else if st.Due(e.now) && started < provedAtOnce {
			var target proof.Target
			var ok bool
			token := uint16(proof.OwnToken)
			if e.proofs.kinds[s] != ProvenOwn {
				token = proofTokens(provenAddresses(l.path, l))[s.Address]
			}
			if st, target, ok = st.Ask(e.now, e.proofTargets(l, f), proofParams(l.path)); ok {
				started++
				e.deps.Proofs.Prove(ProofParams{Subject: s, Interface: l.Interface, Source: source, Mark: fib.MarkOf(l.number, e.cfg.Mark),
					Token: token, Target: target, Timeout: l.path.Prove.Timeout})
			}
		}
		e.proofs.states[s] = st
		if !st.Waiting && st.Next.Before(next) {
			next = st.Next
		}
	}
	if pause := e.now.Add(provePause); next.Before(pause) {
		next = pause
	}
	e.due[dueKey{what: "prove"}] = next
}

// proofTargets are those whom a link can ask in a family: configured ones, else its path's probes, else who answered
// connections; always only those that it has a route to, and that no rule keeps away from it.
func (e *Engine) proofTargets(l *link, f route.Family) []proof.Target {
	all := l.path.ProveTargets()
	if len(all) == 0 {
		all = e.proofs.seen[at(f)]
	}
	t := e.tables[at(f)]
	s := e.state(t)
	var out []proof.Target
	for _, target := range all {
		if route.FamilyOf(target.Address) != f {
			continue
		}
		dst := netip.PrefixFrom(target.Address, target.Address.BitLen())
		_, rank, ok := t.table.Lookup(dst)
		if ok && t.table.Rankings().Links(rank).Has(l.number) && t.fib.Lookup(dst, s).Ranking.Links().Has(l.number) {
			out = append(out, target)
		}
	}
	return out
}

func (e *Engine) proved(ev Proved) {
	st, ok := e.proofs.states[ev.Subject]
	if !ok || !st.Waiting {
		return
	}
	l := e.linkNamed(ev.Subject.Link)
	if !ev.Unsent {
		e.noteAsked(l, asked{l.FullName(), route.FamilyOf(ev.Subject.Address), track.ProofAsked, ev.Sent, ev.Index != 0, ev.RTT})
	}
	e.at(dueKey{what: "prove"}, provePause)
	e.changed = true
	f := route.FamilyOf(ev.Subject.Address)
	if !l.usable()[at(f)] {
		e.proofs.states[ev.Subject] = proof.State{Next: e.now.Add(proveRetry)}
		return
	}
	if ev.Unsent {
		// That nothing was sent says nothing of the way back.
		e.proofs.states[ev.Subject] = st.Lost(e.now.Add(proveRetry))
		return
	}
	a := proof.Answer{Target: ev.Target, RTT: ev.RTT, Why: ev.Why}
	if ev.Index != 0 {
		a.Link, a.Path = fmt.Sprintf("interface %d", ev.Index), "?"
		for _, by := range e.links {
			if by.index == ev.Index {
				a.Link, a.Path = by.FullName(), by.Path
			}
		}
	}
	was := st.Verdict
	st, changed := st.Observe(e.now, l.Path, a, proofParams(l.path))
	e.proofs.states[ev.Subject] = st
	// That all is as it should be is no news at the start; and that the link's own address gets no reply need not be an
	// error: providers do not route the subnets of their links everywhere.
	if !changed || was == proof.Unknown && st.Verdict == proof.Same || e.proofs.kinds[ev.Subject] == ProvenOwn && st.Verdict == proof.None {
		return
	}
	e.note("proof", ev.Subject.Link, fmt.Sprintf("as %s: %s", ev.Subject.Address, e.proofText(ev.Subject, e.answering())))
}

// proofText says what was found, with the likely cause; answering is what is answered by each link.
func (e *Engine) proofText(s proof.Subject, answering map[SessionKey]netip.Addr) string {
	st := e.proofs.states[s]
	switch st.Verdict {
	case proof.Other:
		return st.String() + ": " + asymmetryText(e.proofCase(s))
	case proof.None:
		return st.String() + ": " + silence(answering[SessionKey{s.Link, route.FamilyOf(s.Address)}])
	}
	return st.String()
}

// proofCase names the likely case of a reply by another path.
func (e *Engine) proofCase(s proof.Subject) flow.Asymmetry {
	st, l := e.proofs.states[s], e.linkNamed(s.Link)
	c := nat.Crossing{Connection: l.Path, By: st.Last.Path, Kind: flow.ReplyIn}
	// Who answers a published address by another path would ask for it by that path.
	if e.proofs.kinds[s] == ProvenPublished {
		c.Kind = flow.Request
	}
	return e.explain(c, st.Last.Target.Address)
}

// answering are addresses to which replies come, one for each link and family that has any.
func (e *Engine) answering() map[SessionKey]netip.Addr {
	out := map[SessionKey]netip.Addr{}
	for _, s := range e.proofs.order {
		k := SessionKey{s.Link, route.FamilyOf(s.Address)}
		if v := e.proofs.states[s].Verdict; out[k] == (netip.Addr{}) && (v == proof.Same || v == proof.Other) {
			out[k] = s.Address
		}
	}
	return out
}

// silence says what no reply means, by the yardstick of another address of the link that is answered, if there is one.
func silence(other netip.Addr) string {
	if other.IsValid() {
		return fmt.Sprintf("the way back to this address is missing, that to %s is there: it is not announced here, or not accepted", other)
	}
	return "nothing that is asked by this link is answered: those who are asked are silent, or no way back is there"
}

// lookForTargets asks who answers connections, as long as there are few, and now and then.
func (e *Engine) lookForTargets() {
	var wanted [2]bool
	for _, l := range e.links {
		for _, f := range route.Families() {
			if l.Has(f) && l.path.Prove != nil && len(l.path.ProveTargets()) == 0 {
				wanted[at(f)] = true
			}
			if l.usable()[at(f)] {
				e.deps.Flows.Sample(e.flowMark(l.number, f), seenTargets)
			}
		}
	}
	again := seenRenew
	for i, list := range e.proofs.seen {
		if wanted[i] && len(list) < seenEnough {
			again = seenEvery
		}
	}
	e.at(dueKey{what: "seen"}, again)
}

// flowsSampled takes those who answered connections of the site as targets of proofs.
func (e *Engine) flowsSampled(ev FlowsSampled) {
	const tcp = 6
	for _, x := range ev.Flows {
		if x.Inbound || !x.Answered || x.Protocol != tcp {
			continue
		}
		t := proof.Target{Protocol: proof.TCP, Address: x.Destination.Addr(), Port: x.Destination.Port()}
		list := &e.proofs.seen[at(x.Family)]
		*list = slices.DeleteFunc(*list, func(o proof.Target) bool { return o == t })
		*list = append(*list, t)
		*list = (*list)[max(0, len(*list)-seenTargets):]
	}
	for s, st := range e.proofs.states {
		if st.Verdict == proof.Unknown && !st.Waiting {
			st.Next = e.now
			e.proofs.states[s] = st
		}
	}
	e.at(dueKey{what: "prove"}, provePause)
}

// ProofView is what is known of a way back.
type ProofView struct {
	proof.Subject
	Path string
	Kind ProvenKind
	proof.State
	Up   bool   // the link is usable
	Text string // the verdict with its evidence and likely cause
	Case string // of the provider's, where replies come by another path
}

func (e *Engine) viewProofs() []ProofView {
	var out []ProofView
	answering := e.answering()
	for _, s := range e.proofs.order {
		l, st := e.linkNamed(s.Link), e.proofs.states[s]
		f := route.FamilyOf(s.Address)
		v := ProofView{Subject: s, Path: l.Path, Kind: e.proofs.kinds[s], State: st, Up: l.usable()[at(f)], Text: e.proofText(s, answering)}
		switch {
		case !v.Up:
			v.Text = "the link is down"
		case st.Verdict == proof.Unknown && len(e.proofTargets(l, f)) == 0:
			v.Text = "nobody to ask: set prove.targets"
		case st.Verdict == proof.Other:
			v.Case = e.proofCase(s).Case
		}
		out = append(out, v)
	}
	return out
}
