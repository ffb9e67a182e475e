package config

import (
	"fmt"
	"net/netip"
	"slices"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// Severity of a finding.
type Severity string

// Severities. A file with an error is not run.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Finding is a rule of a provider, or of good sense, that a configuration breaks.
type Finding struct {
	Severity Severity
	Line     int
	Subject  string // path or rule
	Text     string
	Reason   string // why it matters, and where that is written
	// Case is the letter of the case of asymmetric routing that it leads to; empty: none.
	Case string
}

func (f Finding) String() string {
	subject := f.Subject
	if f.Case != "" {
		subject += ": case " + f.Case
	}
	return fmt.Sprintf("line %d: %s: %s: %s (%s)", f.Line, f.Severity, subject, f.Text, f.Reason)
}

// Lint checks a configuration against what the providers document. The findings are sorted by line.
func Lint(c *Config) []Finding {
	l := &linter{c: c}
	for i := range c.Paths {
		l.path(&c.Paths[i])
	}
	for i := range c.Steer {
		l.steer(&c.Steer[i])
	}
	l.ignoredPrepends()
	slices.SortStableFunc(l.found, func(a, b Finding) int { return a.Line - b.Line })
	return l.found
}

type linter struct {
	c     *Config
	found []Finding
}

func (l *linter) add(s Severity, line int, subject, text, reason string) {
	l.found = append(l.found, Finding{Severity: s, Line: line, Subject: subject, Text: text, Reason: reason})
}

func (l *linter) path(p *Path) {
	rules := p.Provider.Rules
	subject := "path " + p.Name
	say := func(s Severity, text, reason string) {
		if rules.Source != "" {
			reason += "; " + rules.Source
		}
		l.add(s, p.line, subject, text, reason)
	}
	for _, f := range route.Families() {
		n := 0
		for _, a := range p.Announce {
			if route.FamilyOf(a.Addr()) == f {
				n++
			}
		}
		if limit := rules.MaxAnnounce; limit > 0 && n > limit {
			say(SeverityError, fmt.Sprintf("%d %s prefixes announced, at most %d", n, f, limit), "the provider drops the session beyond it")
		} else if limit > 0 && n*10 > limit*8 {
			say(SeverityWarning, fmt.Sprintf("%d %s prefixes announced of at most %d", n, f, limit), "the provider drops the session beyond it")
		}
	}
	for _, a := range p.Announce {
		if rules.NoPrivate && policy.Private(a) {
			say(SeverityError, fmt.Sprintf("the private prefix %s is announced", a), "the provider asks to filter private prefixes")
		}
	}
	private := l.c.ASN >= 64512 && l.c.ASN <= 65534 || l.c.ASN >= 4200000000
	if p.HasBGP() && rules.StripsPrivateASN && private && p.Prepend > 0 {
		say(SeverityWarning, fmt.Sprintf("prepend %d does nothing with the private AS %d", p.Prepend, l.c.ASN),
			"the provider takes private AS numbers out of the path")
	}
	documentation := l.c.ASN >= 64496 && l.c.ASN <= 64511 || l.c.ASN >= 65536 && l.c.ASN <= 65551
	if p.HasBGP() && rules.NoDocumentationASN && documentation {
		say(SeverityError, fmt.Sprintf("AS %d is for documentation", l.c.ASN), "the provider rejects paths with it")
	}
	if want := p.Provider.Links; want > 0 && len(p.Links) < want {
		say(SeverityWarning, fmt.Sprintf("%d link, the provider gives %d", len(p.Links), want),
			"its service level holds only with a session on each")
	}
	l.passwords(p, say)
	l.quorum(p)
	l.symmetry(p)
}

func (l *linter) passwords(p *Path, say func(Severity, string, string)) {
	rules := p.Provider.Rules
	for _, link := range p.Links {
		n := len(link.Password)
		if n == 0 {
			continue
		}
		if rules.PasswordMax > 0 && n > rules.PasswordMax || n < rules.PasswordMin {
			say(SeverityError, fmt.Sprintf("link %s: password of %d characters, want %d to %d", link.Name, n, max(rules.PasswordMin, 1),
				rules.PasswordMax), "the provider takes no other")
		}
		if rules.PasswordAlphanumeric && slices.ContainsFunc(link.Password, func(b byte) bool {
			return !(b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z')
		}) {
			say(SeverityError, fmt.Sprintf("link %s: password with characters beside letters and digits", link.Name), "the provider takes no other")
		}
		if link.TTLSecurity && p.Provider.NoTTLSecurity {
			say(SeverityError, fmt.Sprintf("link %s: ttl-security", link.Name), "the provider sends with a TTL of 1")
		}
	}
}

// quorum finds probes that can take nothing down: one target alone does not, where more are asked for.
func (l *linter) quorum(p *Path) {
	if p.Track == nil || p.Track.Params.Quorum < 2 {
		return
	}
	for _, f := range route.Families() {
		n := 0
		for _, x := range p.Track.Probes {
			if route.FamilyOf(x.Address) == f {
				n++
			}
		}
		if n == 1 {
			l.add(SeverityWarning, p.Track.line, "path "+p.Name, fmt.Sprintf("quorum %d, and one target by %s: it takes no link down", p.Track.Params.Quorum, f),
				"what one target says alone may be its own fault")
		}
	}
}

// steer checks pins: a single host that no rule keeps from other paths is no pin.
func (l *linter) steer(s *Steer) {
	subject := "steer " + s.Name
	for _, to := range s.To {
		if slices.ContainsFunc(l.c.Own(), func(own netip.Prefix) bool { return route.Contains(own, to) }) {
			l.add(SeverityError, s.line, subject, fmt.Sprintf("%s lies in the site's own networks", to), "it would never leave by a path")
		}
		if to.IsSingleIP() && !s.Drop {
			l.add(SeverityWarning, s.line, subject, fmt.Sprintf("%s may leave by any path when those of use are dead", to),
				"a pin keeps off other paths only with otherwise: drop")
		}
	}
	for _, name := range slices.Concat(s.Use...) {
		for _, p := range l.c.Paths {
			if p.Name == name && p.Provider.Circuit && s.Pin() && s.Drop {
				l.add(SeverityWarning, s.line, subject, fmt.Sprintf("uses the circuit %s", name),
					"a VPN gateway of the provider belongs on the Internet paths")
			}
		}
	}
}
