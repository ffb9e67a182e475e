package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bothways/internal/config"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// SymmetryView is what the ways back look like from what is really announced and learned now.
type SymmetryView struct {
	Pools    []config.Pool
	Findings []config.Finding
}

// symmetry is what was found last, and of which state.
type symmetry struct {
	key  string
	view SymmetryView
	told []string // findings that the journal knows
}

// symmetryKey tells the states apart that symmetry depends on.
func (e *Engine) symmetryKey() string {
	var b strings.Builder
	for _, l := range e.links {
		for _, f := range route.Families() {
			s := l.session[at(f)]
			fmt.Fprintf(&b, "%t%q ", s.up, s.draining)
			if s.draining != "" {
				fmt.Fprintf(&b, "%t ", e.inUse(l))
			}
		}
	}
	return b.String()
}

// lookAtSymmetry checks the ways back again where sessions or the configuration changed: the same check as of the file, of
// what is announced now. What was not found in the file is an event.
func (e *Engine) lookAtSymmetry() {
	key := e.symmetryKey()
	if key == e.symmetry.key {
		return
	}
	live := *e.cfg
	live.Paths = slices.Clone(e.cfg.Paths)
	settled := true
	for i := range live.Paths {
		p := &live.Paths[i]
		var up [2]bool
		for _, l := range e.links {
			for _, f := range route.Families() {
				up[at(f)] = up[at(f)] || l.Path == p.Name && l.session[at(f)].up
			}
		}
		if !p.HasBGP() {
			continue
		}
		settled = settled && (up[0] || up[1])
		p.Announce = nil
		for _, a := range e.cfg.Paths[i].Announce {
			if up[at(route.FamilyOf(a.Addr()))] {
				p.Announce = append(p.Announce, a)
			}
		}
	}
	view := SymmetryView{Pools: config.Pools(&live), Findings: config.Symmetry(&live)}
	for _, l := range e.links {
		if by := cmp.Or(l.session[0].draining, l.session[1].draining); by != "" {
			view.Findings = append(view.Findings, e.drainFinding(l, by))
		}
	}
	var texts []string
	for _, f := range view.Findings {
		texts = append(texts, f.Text)
		known := slices.ContainsFunc(config.Symmetry(e.cfg), func(x config.Finding) bool { return x.Text == f.Text })
		if settled && !known && !slices.Contains(e.symmetry.told, f.Text) {
			e.note("symmetry", f.Subject, f.Text+": "+f.Reason)
		}
	}
	if !settled {
		texts = e.symmetry.told
	}
	e.symmetry = symmetry{key: key, view: view, told: texts}
}

// drainFinding says whether traffic follows the provider's wish to leave a link.
func (e *Engine) drainFinding(l *link, by string) config.Finding {
	f := config.Finding{Severity: config.SeverityWarning, Subject: "link " + l.FullName(), Text: "the provider drains it by " + by,
		Reason: "its maintenance begins soon; traffic has left it, as it asks"}
	if e.inUse(l) {
		f.Case = "F"
		f.Reason = "traffic still uses it: a preference or a rule puts it before the other links"
	}
	return f
}

// inUse reports whether traffic that has a choice goes by a link.
func (e *Engine) inUse(l *link) bool {
	for _, t := range e.tables {
		s := e.state(t)
		for _, u := range t.fib.InUse() {
			if len(u.Ranking.Tiers) > 1 && slices.Contains(rib.Resolve(u.Ranking, s.Dead, s.Drained).Links, l.number) {
				return true
			}
		}
	}
	return false
}
