package kstate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Ruleset is one nftables table, of family inet and named NftTable. It prints as nft lists it, so that a test, a
// person and the kernel can be compared as text.
type Ruleset struct {
	// Names of everything are letters, digits and underscores. nft reads its own list again only where none is a word of
	// its language (in, out, src, dst, fwd, all …).
	Counters []string // names
	Sets     []NftSet
	Maps     []NftMap
	Chains   []NftChain
}

// Counter is what a counter has counted.
type Counter struct{ Packets, Bytes uint64 }

// KeyType is the type of a set's elements, or of a map's keys.
type KeyType uint8

// Key types.
const (
	Ifname KeyType = iota + 1
	IPv4Addr
	IPv6Addr
	MarkKey
)

func (t KeyType) String() string {
	return [...]string{"nothing", "ifname", "ipv4_addr", "ipv6_addr", "mark"}[min(t, MarkKey)]
}

// NftSet is a named set: of interfaces, or of prefixes, which must not overlap. A Dynamic set is filled by rules.
type NftSet struct {
	Name       string
	Type       KeyType // not MarkKey
	Interfaces []string
	Prefixes   []netip.Prefix
	Dynamic    bool
	Timeout    time.Duration // of a dynamic set's elements, whole seconds
	Size       uint32        // of a dynamic set
}

// NftMap is a named map from interfaces or marks to verdicts, or from interfaces to marks.
type NftMap struct {
	Name     string
	Type     KeyType // Ifname or MarkKey
	Marks    []MarkElement
	Verdicts []VerdictElement // where set, the map is one of verdicts
}

// MarkElement maps an interface to a mark.
type MarkElement struct {
	Interface string
	Mark      uint32
}

// VerdictElement maps an interface, or a mark, to what becomes of the packet.
type VerdictElement struct {
	Interface string // empty in a map of marks
	Mark      uint32
	Verdict   Verdict
}

// Hook is where a base chain is attached.
type Hook uint8

// Hooks; NoHook is for chains that are jumped to.
const (
	NoHook Hook = iota
	Prerouting
	Input
	Forward
	Output
	Postrouting
)

func (h Hook) String() string {
	return [...]string{"", "prerouting", "input", "forward", "output", "postrouting"}[min(h, Postrouting)]
}

// ChainType is what a base chain may do.
type ChainType string

// Chain types.
const (
	FilterChain ChainType = "filter"
	NATChain    ChainType = "nat"
	RouteChain  ChainType = "route"
)

// NftChain is a chain. Base chains have a hook, a type and a priority; their policy is to accept.
type NftChain struct {
	Name     string
	Hook     Hook
	Type     ChainType
	Priority int
	Rules    []NftRule
}

// NftRule is a rule: matches and statements in their order.
type NftRule struct {
	Parts   []Part
	Comment string // up to 127 bytes
}

// Part is a match or a statement of a rule. Each prints as nft does.
type Part interface {
	fmt.Stringer
	isPart()
}

// NewRule builds a rule without a comment.
func NewRule(parts ...Part) NftRule { return NftRule{Parts: parts} }

// WithComment returns the rule with a comment.
func (r NftRule) WithComment(format string, args ...any) NftRule {
	r.Comment = fmt.Sprintf(format, args...)
	return r
}

// String prints the rule. A match of the family is left out before a match of an address of that family, of the
// protocol before one of its ports, as nft does.
func (r NftRule) String() string {
	var words []string
	for i, p := range r.Parts {
		if i+1 < len(r.Parts) && implied(p, r.Parts[i+1]) {
			continue
		}
		words = append(words, p.String())
	}
	if r.Comment != "" {
		words = append(words, fmt.Sprintf("comment %q", r.Comment))
	}
	return strings.Join(words, " ")
}

func implied(p, next Part) bool {
	switch p := p.(type) {
	case MatchFamily:
		if d, ok := next.(MatchDSCP); ok {
			return d.Family == p.Family
		}
		m, ok := next.(MatchAddress)
		return ok && m.Of == OfPacket && (p.Family == 1) == m.is4()
	case MatchProtocol:
		m, ok := next.(MatchPort)
		return ok && len(p.Protocols) == 1 && p.Protocols[0] == m.Protocol
	}
	return false
}

// String prints the table as nft list table does, with counters at zero.
func (r Ruleset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", NftTable)
	gap := ""
	block := func(head string, lines ...string) {
		b.WriteString(gap + "\t" + head + " {\n")
		for _, l := range lines {
			b.WriteString("\t\t" + l + "\n")
		}
		b.WriteString("\t}\n")
		gap = "\n"
	}
	for _, c := range r.Counters {
		block("counter "+c, "packets 0 bytes 0")
	}
	for _, s := range r.Sets {
		block("set "+s.Name, s.lines()...)
	}
	for _, m := range r.Maps {
		block("map "+m.Name, m.lines()...)
	}
	for _, c := range r.Chains {
		var lines []string
		if c.Hook != NoHook {
			lines = append(lines, fmt.Sprintf("type %s hook %s priority %s; policy accept;", c.Type, c.Hook, c.priority()))
		}
		for _, rule := range c.Rules {
			lines = append(lines, rule.String())
		}
		block("chain "+c.Name, lines...)
	}
	b.WriteString("}\n")
	return b.String()
}

// priority prints the chain's priority by the name of the nearest of nft's standard ones, if one is within 10.
func (c NftChain) priority() string {
	for _, std := range []struct {
		name string
		at   int
		hook Hook // where the name is known; NoHook: everywhere
	}{
		{"raw", -300, NoHook}, {"mangle", -150, NoHook}, {"dstnat", -100, Prerouting}, {"filter", 0, NoHook}, {"security", 50, NoHook}, {"srcnat", 100, Postrouting},
	} {
		d := c.Priority - std.at
		switch {
		case std.hook != NoHook && std.hook != c.Hook || d < -10 || d > 10:
		case d == 0:
			return std.name
		case d > 0:
			return fmt.Sprintf("%s + %d", std.name, d)
		default:
			return fmt.Sprintf("%s - %d", std.name, -d)
		}
	}
	return fmt.Sprint(c.Priority)
}

func (s NftSet) lines() []string {
	lines := []string{"type " + s.Type.String()}
	switch {
	case s.Dynamic:
		if s.Size > 0 {
			lines = append(lines, fmt.Sprintf("size %d", s.Size))
		}
		flags := "flags dynamic"
		if s.Timeout > 0 {
			flags += ",timeout"
		}
		lines = append(lines, flags)
		if s.Timeout > 0 {
			lines = append(lines, "timeout "+duration(s.Timeout))
		}
		return lines
	case s.Type != Ifname:
		lines = append(lines, "flags constant,interval")
	}
	elements := prefixElements(s.Prefixes)
	if s.Type == Ifname {
		elements = quoted(s.Interfaces)
	}
	return append(lines, elementLine(elements)...)
}

func (m NftMap) lines() []string {
	to, elements := "mark", []string(nil)
	if m.Verdicts != nil {
		to, elements = "verdict", verdictElements(m.Verdicts)
	} else {
		marks := slices.Clone(m.Marks)
		slices.SortFunc(marks, func(a, b MarkElement) int { return compareNames(a.Interface, b.Interface) })
		for _, e := range marks {
			elements = append(elements, fmt.Sprintf("%q : %s", e.Interface, hex(e.Mark)))
		}
	}
	return append([]string{fmt.Sprintf("type %s : %s", m.Type, to)}, elementLine(elements)...)
}

func elementLine(elements []string) []string {
	if len(elements) == 0 {
		return nil
	}
	return []string{"elements = { " + strings.Join(elements, ", ") + " }"}
}

// compareNames orders interface names as nft does: as numbers of 16 bytes, the last byte the highest.
func compareNames(a, b string) int {
	if c := len(a) - len(b); c != 0 {
		return c
	}
	for i := len(a) - 1; i >= 0; i-- {
		if c := int(a[i]) - int(b[i]); c != 0 {
			return c
		}
	}
	return 0
}

func quoted(names []string) []string {
	names = slices.Clone(names)
	slices.SortFunc(names, compareNames)
	for i, n := range names {
		names[i] = `"` + n + `"`
	}
	return names
}

func prefixElements(prefixes []netip.Prefix) []string {
	prefixes = slices.Clone(prefixes)
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	s := make([]string, len(prefixes))
	for i, p := range prefixes {
		s[i] = prefixText(p)
	}
	return s
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func verdictElements(elements []VerdictElement) []string {
	elements = slices.Clone(elements)
	slices.SortFunc(elements, func(a, b VerdictElement) int {
		if c := compareNames(a.Interface, b.Interface); c != 0 {
			return c
		}
		return int(int64(a.Mark) - int64(b.Mark))
	})
	s := make([]string, len(elements))
	for i, e := range elements {
		key := hex(e.Mark)
		if e.Interface != "" {
			key = `"` + e.Interface + `"`
		}
		s[i] = key + " : " + e.Verdict.String()
	}
	return s
}

func hex(v uint32) string { return fmt.Sprintf("0x%08x", v) }

// duration prints whole seconds as nft does: 1h5s.
func duration(d time.Duration) string {
	s, out := int(d/time.Second), ""
	for _, u := range []struct {
		n    int
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}} {
		if s >= u.n {
			out += fmt.Sprintf("%d%s", s/u.n, u.name)
			s %= u.n
		}
	}
	return out
}
