package engine

import (
	"fmt"
	"net/netip"

	"bothways/internal/fib"
	"bothways/internal/route"
	"bothways/internal/track"
)

// detect tells BFD and the probes what to watch, and brings the tracks to what is configured.
func (e *Engine) detect() {
	var sessions []DetectParams
	var probes []ProbeLink
	for _, l := range e.links {
		for _, f := range route.Families() {
			local, hop := e.source(l, f), netip.Addr{}
			if h, ok := l.hop(f); ok {
				hop = h
			}
			if l.BFD == nil {
				*l.tracks.BFD(f) = track.State{}
			} else if local.IsValid() && hop.IsValid() {
				sessions = append(sessions, DetectParams{
					Key: SessionKey{l.FullName(), f}, Interface: l.Interface, Local: local, Neighbor: hop,
					Interval: l.Link.BFD.Interval, Multiplier: l.Link.BFD.Multiplier,
				})
			}
			var names []string
			for _, p := range l.path.Track.Targets(f) {
				names = append(names, p.String())
			}
			var params track.ProbeParams
			if l.path.Track != nil {
				params = l.path.Track.Params
			}
			*l.tracks.Probe(f) = l.tracks.Probe(f).Set(params, names)
		}
		if t := l.path.Track; t != nil && l.index != 0 {
			p := ProbeLink{Link: l.FullName(), Interface: l.Interface, Mark: fib.MarkOf(l.number, e.cfg.Mark), Every: t.Every, Timeout: t.Timeout}
			for _, f := range route.Families() {
				if src := e.source(l, f); src.IsValid() {
					p.Sources[at(f)] = src
					p.Targets = append(p.Targets, t.Targets(f)...)
				}
			}
			if len(p.Targets) > 0 {
				probes = append(probes, p)
			}
		}
	}
	e.deps.BFD.Detect(sessions)
	e.deps.Probes.Probe(probes)
	e.setProofs()
}

// source is the link's own address in a family: that of the file, or the interface's first.
func (e *Engine) source(l *link, f route.Family) netip.Addr {
	if a := l.Address(f); a.IsValid() {
		return a.Addr()
	}
	for _, in := range e.interfaces {
		if in.Name != l.Interface || !l.Auto {
			continue
		}
		for _, a := range in.Addresses {
			if route.FamilyOf(a.Addr()) == f && !a.Addr().IsLinkLocalUnicast() {
				return a.Addr()
			}
		}
	}
	return netip.Addr{}
}

// probed are the links that have probes.
func (e *Engine) probedLinks() route.LinkSet {
	var s route.LinkSet
	for _, l := range e.links {
		if l.path.Track != nil {
			s.Add(l.number)
		}
	}
	return s
}

func (e *Engine) bfd(ev BFDChanged) {
	l := e.linkNamed(ev.Key.Link)
	if l == nil || l.Link.BFD == nil {
		return
	}
	s := l.tracks.BFD(ev.Key.Family)
	if ev.Admin {
		// No statement about the path (RFC 5882, section 3.2): neither may it take the link down, nor keep it down.
		if *s != (track.State{}) {
			e.note("link", ev.Key.String(), "bfd ended: "+ev.Why)
		}
		*s = track.State{}
		e.changed = true
		return
	}
	e.observe(l, s, track.BFD, ev.Up, ev.Why, Sign{Kind: SignPacket, At: ev.Heard})
}

func (e *Engine) probed(ev Probed) {
	l := e.linkNamed(ev.Key.Link)
	if l == nil {
		return
	}
	p := l.tracks.Probe(ev.Key.Family)
	usable := l.usable()
	e.noteAsked(l, asked{link: l.FullName(), family: ev.Key.Family, sent: ev.Sent, answered: ev.Result.OK, rtt: ev.Result.RTT})
	if !ev.Result.OK && !e.couldAsk(l, ev) {
		return
	}
	if ev.Result.OK && !ev.Sent.IsZero() {
		ev.Result.At = ev.Sent.Add(ev.Result.RTT)
	}
	next, changed := p.Observe(e.now, ev.Result)
	*p = next
	e.publishSoon() // what was measured
	if !changed {
		return
	}
	word := "up"
	if next.Down {
		word = "down"
		e.restart.Failed = true
	}
	if gone := ceased(usable, l.usable()); next.Down && gone != ([2]bool{}) {
		e.startOutage(l, gone, CauseProbes, fmt.Sprintf("%s probes down", ev.Key), probesSign(next))
	}
	e.note("link", ev.Key.String(), fmt.Sprintf("probes %s: %s", word, next.Why))
}
