package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"bothways/internal/fib"
	"bothways/internal/kstate"
	"bothways/internal/route"
	"bothways/internal/track"
)

func (e *Engine) setInterfaces(ev Interfaces) {
	e.interfaces = ev.All
	for i := range e.interfaces {
		in := &e.interfaces[i]
		// What the poll saw after this was read is newer.
		if seen, ok := e.carriers[in.Index]; ok && seen.at.After(ev.At) {
			in.Carrier = seen.carrier
		}
	}
	type place struct {
		index int
		hops  [2]netip.Addr
	}
	places := func() (out []place) {
		for _, l := range e.links {
			p := place{index: l.index}
			for _, f := range route.Families() {
				p.hops[at(f)], _ = l.hop(f)
			}
			out = append(out, p)
		}
		return out
	}
	before := places()
	for _, l := range e.links {
		l.gateway = Gateways{}
		for _, in := range ev.All {
			if in.Name == l.Interface {
				l.gateway = ev.Gateways[in.Index]
			}
		}
	}
	e.findInterfaces(ev.At, ev.Seen)
	e.statics()
	e.setInside()
	after := places()
	for i, l := range e.links {
		for _, f := range route.Families() {
			if before[i].hops[at(f)] != after[i].hops[at(f)] {
				*l.tracks.Neighbor(f) = track.State{} // nothing is known of the new one
			}
		}
	}
	if !slices.Equal(before, after) {
		e.watch()
	}
	e.detect()
}

// setInside brings the ways to networks inside to what the kernel said of interfaces last.
func (e *Engine) setInside() {
	for _, t := range e.tables {
		inside, routes := insideHops(e.cfg, e.interfaces, t.f)
		if slices.EqualFunc(inside, t.inside, kstate.Nexthop.Equal) {
			continue
		}
		for _, old := range t.inside {
			carries := func(in kstate.Interface) bool { return in.Index == old.Interface && in.Carrier }
			if !slices.ContainsFunc(e.interfaces, carries) {
				e.lost = append(e.lost, old.Interface)
			}
		}
		t.inside = inside
		t.fib.SetInside(routes)
	}
}

// findInterfaces brings index, addresses, carrier and track of each link to what the kernel said last, at read; seen is when each
// interface was last looked at and had a carrier.
func (e *Engine) findInterfaces(read time.Time, seen map[int]time.Time) {
	for _, l := range e.links {
		index, carrier, why := 0, false, fmt.Sprintf("interface %s is missing", l.Interface)
		sign := Sign{SignCarrier, seen[l.index], read}
		var addresses []netip.Prefix
		for _, in := range e.interfaces {
			if in.Name == l.Interface {
				index, carrier, addresses = in.Index, in.Carrier, in.Addresses
				why = carrierText(carrier)
			}
		}
		if l.index != 0 && (index != l.index || l.carrier && !carrier) {
			e.lost = append(e.lost, l.index)
		}
		if index != l.index && index != 0 {
			for _, f := range route.Families() {
				if a := l.Address(f); a.IsValid() && !slices.Contains(addresses, a) {
					e.note("link", l.FullName(), fmt.Sprintf("address %s is not on %s", a, l.Interface))
				}
			}
		}
		if index != 0 {
			l.index = index
		}
		e.observeCarrier(l, carrier, why, sign) // which sees what the link was until now
		l.index = index
		if l.findAddresses(addresses) {
			e.table = table{}
		}
	}
}

func carrierText(carrier bool) string {
	if carrier {
		return "carrier"
	}
	return "no carrier"
}

// carrierSeen is what the poll of an interface saw last, and when.
type carrierSeen struct {
	carrier bool
	at      time.Time
}

func (e *Engine) carrier(ev CarrierChanged) {
	if ev.Index != 0 {
		e.carriers[ev.Index] = carrierSeen{ev.Carrier, e.now}
	}
	for i := range e.interfaces {
		if e.interfaces[i].Index == ev.Index {
			e.interfaces[i].Carrier = ev.Carrier
		}
	}
	e.setInside()
	for _, l := range e.links {
		if l.index != ev.Index || ev.Index == 0 {
			continue
		}
		if l.carrier && !ev.Carrier {
			e.lost = append(e.lost, l.index)
		}
		e.observeCarrier(l, ev.Carrier, carrierText(ev.Carrier), Sign{SignCarrier, ev.Seen, ev.At})
	}
}

func (e *Engine) observeCarrier(l *link, carrier bool, why string, sign Sign) {
	was := l.carrier
	l.carrier = carrier
	e.observe(l, &l.tracks.Carrier, track.Carrier, carrier, why, sign)
	for _, f := range route.Families() {
		switch {
		case was == carrier || !l.speaks(f):
		case carrier:
			e.deps.Speaker.Resume(SessionKey{l.FullName(), f})
		default:
			// The neighbor sees the same and lets our routes go. When the carrier is back, packets go this way again
			// only once the neighbor has said so: what it would answer until then goes elsewhere, or nowhere.
			e.deps.Speaker.Pause(SessionKey{l.FullName(), f}, why)
		}
	}
}

func (e *Engine) neighbor(ev NeighborSeen) {
	for _, l := range e.links {
		// Without a carrier nobody answers, which says nothing of the neighbor.
		if l.index != ev.Index || ev.Index == 0 || !l.carrier {
			continue
		}
		for _, f := range route.Families() {
			hop, ok := l.hop(f)
			if !ok || hop.WithZone("") != ev.Address.WithZone("") {
				continue
			}
			switch ev.State {
			case kstate.NeighborReachable:
				l.answers[at(f)] = later(l.answers[at(f)], ev.Confirmed)
				e.observe(l, l.tracks.Neighbor(f), track.Neighbor, true, fmt.Sprintf("%s answers", hop), Sign{})
			case kstate.NeighborFailed:
				e.observe(l, l.tracks.Neighbor(f), track.Neighbor, false, fmt.Sprintf("%s does not answer", hop),
					neighborSign(l.answers[at(f)], ev.Confirmed, ev.At))
			}
		}
	}
}

// observe takes evidence about a link; sign is what a failure is timed from.
func (e *Engine) observe(l *link, s *track.State, kind track.Kind, good bool, why string, sign Sign) {
	was, usable := *s, l.usable()
	next, changed := s.Observe(e.now, good, why, track.Immediate())
	*s = next
	if next != was {
		e.changed = true
	}
	if !changed {
		return
	}
	word := "up"
	if next.Down {
		word = "down"
		if was.Seen || kind == track.Neighbor {
			e.restart.Failed = true
		}
		if gone := ceased(usable, l.usable()); was.Seen && gone != ([2]bool{}) {
			e.startOutage(l, gone, Cause(kind), fmt.Sprintf("%s %s down", l.FullName(), kind), sign)
		}
	}
	e.note("link", l.FullName(), fmt.Sprintf("%s %s: %s", kind, word, why))
}

// ceased says in which families a link is no longer usable.
func ceased(before, now [2]bool) (gone [2]bool) {
	for i := range gone {
		gone[i] = before[i] && !now[i]
	}
	return gone
}

// statics gives links without BGP their default where they know a gateway.
func (e *Engine) statics() {
	for _, l := range e.links {
		for _, f := range route.Families() {
			e.tables[at(f)].table.SetStatic(l.number, l.static(f))
		}
	}
}

// watch tells the watchers which interfaces and neighbors matter now.
func (e *Engine) watch() {
	var all []Watched
	for _, l := range e.links {
		w := Watched{Interface: l.Interface, Index: l.index, Automatic: l.AutoGateway}
		for _, f := range route.Families() {
			if hop, ok := l.hop(f); ok && hop.IsValid() {
				w.Neighbors = append(w.Neighbors, hop)
			}
		}
		all = append(all, w)
	}
	e.deps.Watch.Set(all)
	e.deps.Watch.Pin(e.pinned())
}

// state is what the rankings are resolved with.
func (e *Engine) state(t *family) fib.State {
	s := fib.State{Drained: t.drained, Moved: t.moved}
	for _, l := range e.links {
		_, ok := l.hop(t.f)
		if !l.usable()[at(t.f)] {
			s.Dead.Add(l.number)
		}
		if ok && l.index != 0 && l.carrier {
			s.Present.Add(l.number)
		}
	}
	s.Ended = t.down.Minus(s.Dead)
	s.Dead = s.Dead.Union(t.down)
	return s
}
