package engine

import (
	"fmt"
	"net/netip"
	"time"

	"bothways/internal/flow"
	"bothways/internal/nat"
	"bothways/internal/policy"
	"bothways/internal/route"
)

// tellEvery keeps the journal from filling with one story.
const tellEvery = time.Minute

func (e *Engine) asymmetric(ev Asymmetric) {
	pair := ev.Crossing
	if last, ok := e.told[pair]; ok && e.now.Sub(last) < tellEvery {
		return
	}
	e.told[pair] = e.now
	what := map[flow.CrossingKind]string{flow.ReplyIn: "%d replies came by %s: %s", flow.ReplyOut: "%d replies left by %s: %s",
		flow.Request: "%d requests for its addresses came by %s: %s"}[ev.Kind]
	e.note("asymmetry", ev.Connection, fmt.Sprintf(what, ev.Packets, ev.By, asymmetryText(e.explain(ev.Crossing, ev.Remotes...))))
}

func (e *Engine) isCircuit(path string) bool {
	for _, p := range e.cfg.Paths {
		if p.Name == path {
			return p.Provider.Circuit
		}
	}
	return false
}

// explain names the likely case of replies that take another path, by what is known of the paths now. With remote addresses
// it also looks for what the configuration does not accept.
func (e *Engine) explain(c nat.Crossing, remotes ...netip.Addr) flow.Asymmetry {
	x := flow.Crossing{Kind: c.Kind, Connection: e.isCircuit(c.Connection), By: e.isCircuit(c.By), Draining: e.draining(c.Connection) || e.draining(c.By)}
	for _, a := range remotes {
		x.Refused = x.Refused || e.refuses(c.By, a)
	}
	return flow.Explain(x)
}

// refuses reports whether a path announces an address in a prefix that its accept leaves out.
func (e *Engine) refuses(path string, a netip.Addr) bool {
	t := e.tables[at(route.FamilyOf(a))]
	links := pathLinks(e.links, path)
	for _, p := range t.table.Covering(netip.PrefixFrom(a, a.BitLen())) {
		for _, r := range t.table.Entries(p) {
			if links.Has(r.Link) && r.Reason == policy.NotAccepted {
				return true
			}
		}
	}
	return false
}

// asymmetryText is the likely cause in one sentence, with its remedy.
func asymmetryText(a flow.Asymmetry) string {
	text := a.Cause + "; " + a.Remedy
	if a.Case != "" {
		text = "case " + a.Case + ": " + text
	}
	return text
}

// drainFold is how many times a provider puts its own AS in front of what it announces to drain a link: eight, as it
// documents.
const drainFold = 8

// draining reports whether the provider drains a link of a path now.
func (e *Engine) draining(path string) bool {
	for _, l := range e.links {
		if l.Path == path && l.session[0].draining+l.session[1].draining != "" {
			return true
		}
	}
	return false
}

// hearDraining looks at what a circuit's neighbor announces. It drains a link as a whole, so that the last word counts.
func (e *Engine) hearDraining(l *link, k SessionKey, updates []route.Update) {
	s := &l.session[at(k.Family)]
	was := s.draining
	for _, u := range updates {
		if l.path.Provider.Circuit && u.Attrs != nil && len(u.Announced) > 0 {
			s.draining = drainingBy(u.Attrs)
		}
	}
	switch {
	case s.draining == was:
	case s.draining != "":
		e.note("drain", k.String(), "the provider drains this link by "+s.draining)
	default:
		e.note("drain", k.String(), "the provider no longer drains this link")
	}
}

// drainingBy says by what a provider drains a link of which it announces this; "": it does not.
func drainingBy(a *route.Attrs) string {
	switch {
	case a.HasCommunity(route.GracefulShutdown):
		return "a graceful shutdown"
	case a.Path.Leading() >= drainFold:
		return "a longer path"
	}
	return ""
}
