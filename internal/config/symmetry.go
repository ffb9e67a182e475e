package config

import (
	"fmt"
	"net/netip"
	"slices"

	"bothways/internal/nat"
	"bothways/internal/route"
)

// symmetry proves, as far as the file alone can, that what leaves by a path comes back by it: for each pool, who announces
// it, how specifically, and on which path the other end would answer. A provider answers on a circuit what it hears there,
// also where the Internet has the same prefix; among prefixes of different length the longer one wins for everybody.
func (l *linter) symmetry(p *Path) {
	for _, e := range p.NAT {
		if e.Kind == nat.Pool || e.Kind == nat.Prefix {
			l.pool(p, e.To)
		}
	}
	for _, x := range p.Publish {
		l.published(p, x)
	}
}

func (l *linter) finding(s Severity, letter string, p *Path, text, reason string) {
	if src := p.Provider.Rules.Source; src != "" {
		reason += "; " + src
	}
	l.found = append(l.found, Finding{Severity: s, Line: p.line, Subject: "path " + p.Name, Text: text, Reason: reason, Case: letter})
}

// pool checks one pool of a path.
func (l *linter) pool(p *Path, pool netip.Prefix) {
	here := longest(p, pool)
	if p.HasBGP() && here < 0 {
		letter := ""
		if p.Provider.Circuit {
			letter = "A"
		}
		l.finding(SeverityWarning, letter, p, fmt.Sprintf("pool %s is not announced here", pool),
			"replies come back by this path only if someone announces the pool on it")
	}
	for i := range l.c.Paths {
		other := &l.c.Paths[i]
		at, ok := overlapping(other, pool)
		// Among announcements of different length the longer one wins for everybody: that is how a pool may be shared.
		if other.Name == p.Name || !ok || at.Bits() < here {
			continue
		}
		severity, allowed := SeverityError, "shared: true allows it"
		if p.Shared || other.Shared {
			severity, allowed = SeverityWarning, "shared: true allows it: watch bothways show proofs and show asymmetry"
		}
		switch {
		case p.Provider.Circuit && other.Provider.Circuit:
			l.finding(severity, "D", p, fmt.Sprintf("pool %s is announced as %s on the circuit %s too", pool, at, other.Name),
				"the provider answers on the circuit of its choice; give each circuit a pool of its own, or announce a more specific prefix here ("+allowed+")")
		case p.Provider.Circuit:
			l.finding(severity, "A", p, fmt.Sprintf("pool %s is announced as %s on path %s too", pool, at, other.Name),
				"replies may come back by the other path; announce a more specific prefix here, or use a pool of its own ("+allowed+")")
		case other.Provider.Circuit:
			l.finding(severity, "B", p, fmt.Sprintf("pool %s is announced as %s on the circuit %s too", pool, at, other.Name),
				"what is asked by this path the provider answers on the circuit; give each path a pool of its own, or announce a more specific prefix here ("+allowed+")")
			if !other.Accept.All {
				l.finding(SeverityWarning, "G", other, fmt.Sprintf("accept takes a part of the provider's prefixes only, and pool %s of path %s is announced here", pool, p.Name),
					"what is not accepted leaves by the Internet and is answered on the circuit; each change of accept, or of the provider's route filter, moves it from one to the other")
			}
		}
	}
}

// ignoredPrepends finds what makes the site stay on a circuit that its provider drains by a longer path: between circuits of
// one provider, a preference and a rule's order both count before the length of the path.
func (l *linter) ignoredPrepends() {
	const reason = "the provider puts its AS in front eight times to drain a circuit for maintenance; a site that does not follow is answered by the other one, or not at all"
	alike := func(a, b *Path) bool {
		return a != b && a.Provider.Circuit && b.Provider.Circuit && a.Provider.Name == b.Provider.Name
	}
	for i := range l.c.Paths {
		p := &l.c.Paths[i]
		for j := range l.c.Paths {
			if o := &l.c.Paths[j]; alike(p, o) && p.preference() > o.preference() {
				l.finding(SeverityWarning, "F", p, fmt.Sprintf("preference %d before %d of the circuit %s", p.preference(), o.preference(), o.Name), reason)
			}
		}
	}
	for _, s := range l.c.Steer {
		var before []*Path
		for _, tier := range s.Use {
			for _, name := range tier {
				p := l.c.path(name)
				for _, o := range before {
					if p != nil && alike(o, p) {
						l.found = append(l.found, Finding{Severity: SeverityWarning, Line: s.line, Subject: "steer " + s.Name, Case: "F",
							Text: fmt.Sprintf("the circuit %s stands in a tier before the circuit %s", o.Name, p.Name), Reason: reason + "; put both into one tier"})
					}
				}
			}
			for _, name := range tier {
				if p := l.c.path(name); p != nil {
					before = append(before, p)
				}
			}
		}
	}
}

// preference is the local preference of the path's routes.
func (p *Path) preference() uint32 {
	if p.Preference != 0 {
		return p.Preference
	}
	return p.Provider.Preference
}

// path finds a path; nil where there is none.
func (c *Config) path(name string) *Path {
	for i := range c.Paths {
		if c.Paths[i].Name == name {
			return &c.Paths[i]
		}
	}
	return nil
}

// published checks a published host: who may ask for it, and how the answer leaves.
func (l *linter) published(p *Path, x nat.Publish) {
	host := netip.PrefixFrom(x.Outside, x.Outside.BitLen())
	if p.HasBGP() && longest(p, host) < 0 {
		l.finding(SeverityWarning, "", p, fmt.Sprintf("the published address %s is not announced here", x.Outside), "nobody finds the way to it by this path")
	}
	if p.Provider.Circuit && !p.Accept.All && !x.SourceNAT && l.c.Observe {
		l.finding(SeverityWarning, "E", p, fmt.Sprintf("%s is published, and accept takes a part of the provider's prefixes only", x.Outside),
			"all of the provider's servers may ask for it here, also those whose prefixes are not accepted, and with symmetry: observe what answers them leaves by the Internet; enforce it, or accept all")
	}
	for i := range l.c.Paths {
		other := &l.c.Paths[i]
		if at, ok := overlapping(other, host); ok && other.Name != p.Name && other.Provider.Circuit && !p.Provider.Circuit && at.Bits() >= longest(p, host) {
			l.finding(SeverityWarning, "C", p, fmt.Sprintf("the published address %s is announced as %s on the circuit %s too", x.Outside, at, other.Name),
				"what the provider asks comes by the circuit, where the address is not published")
		}
	}
}

// longest is the length of the most specific announcement of a path that covers a prefix, or of the least specific of several
// that do so together; -1 where none does.
func longest(p *Path, q netip.Prefix) int {
	best := -1
	inside := false
	for _, a := range p.Announce {
		switch {
		case route.Contains(a, q):
			best = max(best, a.Bits())
		case route.Contains(q, a):
			inside = true
		}
	}
	if !inside || q.IsSingleIP() {
		return best
	}
	// Parts that cover it together do so as the least specific of them.
	low, high := halves(q)
	if parts := min(longest(p, low), longest(p, high)); parts > best {
		return parts
	}
	return best
}

// halves are the two prefixes that a prefix consists of.
func halves(q netip.Prefix) (low, high netip.Prefix) {
	low = netip.PrefixFrom(q.Addr(), q.Bits()+1)
	b := q.Addr().AsSlice()
	b[q.Bits()/8] |= 0x80 >> (q.Bits() % 8)
	a, _ := netip.AddrFromSlice(b)
	return low, netip.PrefixFrom(a, q.Bits()+1)
}

// overlapping is the most specific announcement of a path that touches a prefix.
func overlapping(p *Path, q netip.Prefix) (netip.Prefix, bool) {
	i := -1
	for j, a := range p.Announce {
		if a.Overlaps(q) && (i < 0 || a.Bits() > p.Announce[i].Bits()) {
			i = j
		}
	}
	if i < 0 {
		return netip.Prefix{}, false
	}
	return p.Announce[i], true
}

// Symmetry checks the ways back alone: what Lint says of them, sorted by line. At run time it is asked again of what is
// really announced.
func Symmetry(c *Config) []Finding {
	l := &linter{c: c}
	for i := range c.Paths {
		l.symmetry(&c.Paths[i])
	}
	l.ignoredPrepends()
	slices.SortStableFunc(l.found, func(a, b Finding) int { return a.Line - b.Line })
	return l.found
}

// Pool is a pool of a path, with who announces it and by which paths replies to it come.
type Pool struct {
	Path      string
	Prefix    netip.Prefix
	Announced []PoolAnnouncement
	// Provider are the paths on which a provider with a circuit here answers, Internet those of everybody else; none: it
	// finds no way back. Static links are not looked at: what their ISP announces is not known.
	Provider, Internet []string
}

// PoolAnnouncement is an announcement that covers a pool or a part of it.
type PoolAnnouncement struct {
	Path   string
	Prefix netip.Prefix
}

// Pools lists the pools of paths with BGP. The longest announcement wins for everybody; among equal ones a provider
// prefers its circuit.
func Pools(c *Config) []Pool {
	var out []Pool
	for i := range c.Paths {
		p := &c.Paths[i]
		for _, e := range p.NAT {
			if (e.Kind == nat.Pool || e.Kind == nat.Prefix) && p.HasBGP() && !slices.ContainsFunc(out, func(x Pool) bool { return x.Path == p.Name && x.Prefix == e.To }) {
				out = append(out, c.poolOf(p, e.To))
			}
		}
	}
	return out
}

func (c *Config) poolOf(p *Path, pool netip.Prefix) Pool {
	out := Pool{Path: p.Name, Prefix: pool}
	var circuits, lines []string
	best, bestLine, circuit := -1, -1, false
	for i := range c.Paths {
		o := &c.Paths[i]
		a, ok := overlapping(o, pool)
		if !ok {
			continue
		}
		out.Announced = append(out.Announced, PoolAnnouncement{o.Name, a})
		n := a.Bits()
		if !o.Provider.Circuit && n >= bestLine {
			if n > bestLine {
				lines = nil
			}
			lines, bestLine = append(lines, o.Name), n
		}
		if n > best || n == best && o.Provider.Circuit && !circuit {
			circuits, best, circuit = nil, n, o.Provider.Circuit
		}
		if n == best && o.Provider.Circuit == circuit {
			circuits = append(circuits, o.Name)
		}
	}
	out.Provider, out.Internet = circuits, lines
	return out
}
