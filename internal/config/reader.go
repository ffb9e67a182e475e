package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing wrong with a file.
type Problem struct {
	File string
	Line int
	Key  string // where in the file, keys joined by dots
	Text string // what was wanted and what was found
}

func (p *Problem) Error() string {
	if p.Key == "" {
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Key, p.Text)
}

// reader walks the document and collects problems, so that all of them are told at once.
type reader struct {
	file     string
	problems []error
}

func (r *reader) err() error { return errors.Join(r.problems...) }

func (r *reader) fail(line int, key, format string, args ...any) {
	r.problems = append(r.problems, &Problem{r.file, line, key, fmt.Sprintf(format, args...)})
}

// value is a node with its place.
type value struct {
	r    *reader
	n    *yaml.Node
	path string
}

func (v value) fail(format string, args ...any) { v.r.fail(v.n.Line, v.path, format, args...) }

func (v value) child(key string, n *yaml.Node) value {
	if v.path != "" {
		key = v.path + "." + key
	}
	return value{v.r, n, key}
}

func (v value) kind() string {
	switch v.n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if v.n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(v.n.Value)
}

type field struct {
	key string
	value
}

// mapping returns the fields in the order of the file; a key that stands twice is a problem.
func (v value) mapping(want string) []field {
	if v.n.Kind != yaml.MappingNode {
		v.fail("want %s, found %s", want, v.kind())
		return nil
	}
	seen := map[string]int{}
	var out []field
	for i := 0; i+1 < len(v.n.Content); i += 2 {
		k := v.n.Content[i]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			v.r.fail(k.Line, v.path, "want a plain key, found %s", value{v.r, k, ""}.kind())
			continue
		}
		if line, ok := seen[k.Value]; ok {
			v.r.fail(k.Line, v.path, "key %q stands already in line %d", k.Value, line)
			continue
		}
		seen[k.Value] = k.Line
		f := field{k.Value, v.child(k.Value, v.n.Content[i+1])}
		out = append(out, f)
	}
	return out
}

// fields calls the function for each key of a mapping. A key without a function is a problem.
func (v value) fields(want string, known map[string]func(value)) {
	for _, f := range v.mapping(want) {
		read, ok := known[f.key]
		switch {
		case !ok && later[f.key]:
			v.r.fail(f.n.Line, v.path, "key %q is not supported by this version yet", f.key)
		case !ok:
			v.r.fail(f.n.Line, v.path, "unknown key %q%s", f.key, nearest(f.key, known))
		default:
			read(f.value)
		}
	}
}

// nearest proposes a known key that is one or two letters away.
func nearest(key string, known map[string]func(value)) string {
	best, at := "", 3
	for k := range known {
		if d := distance(key, k); d < at || d == at && k < best {
			best, at = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (meant %q?)", best)
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := prev
			if a[i-1] != b[j-1] {
				cost++
			}
			prev, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

func (v value) list() []value {
	if v.n.Kind != yaml.SequenceNode {
		v.fail("want a list, found %s", v.kind())
		return nil
	}
	var out []value
	for i, n := range v.n.Content {
		out = append(out, value{v.r, n, fmt.Sprintf("%s[%d]", v.path, i)})
	}
	return out
}

func (v value) scalar(want string) (string, bool) {
	if v.n.Kind != yaml.ScalarNode || v.n.Tag == "!!null" || v.n.Value == "" {
		v.fail("want %s, found %s", want, v.kind())
		return "", false
	}
	return v.n.Value, true
}

func (v value) name() string {
	const want = "a name of letters, digits, '-' and '_', beginning with a letter, at most 32"
	s, ok := v.scalar(want)
	if ok && !validName(s) {
		v.fail("want %s, found %q", want, s)
	}
	return s
}

func validName(s string) bool {
	if s == "" || len(s) > 32 || !strings.ContainsRune(letters, rune(s[0])) {
		return false
	}
	return strings.Trim(s, letters+"0123456789-_") == ""
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func (v value) interfaceName() string {
	s, ok := v.scalar("an interface name")
	if ok && (len(s) > 15 || strings.ContainsAny(s, "/ \t\n") || s == "." || s == "..") {
		v.fail("want an interface name of at most 15 characters without '/' and spaces, found %q", s)
	}
	return s
}

func (v value) bool() bool {
	s, ok := v.scalar("true or false")
	if ok && s != "true" && s != "false" {
		v.fail("want true or false, found %q", s)
	}
	return s == "true"
}

func (v value) number(lo, hi uint64, what string) uint64 {
	want := fmt.Sprintf("%s from %d to %d", what, lo, hi)
	s, ok := v.scalar(want)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(strings.ReplaceAll(s, "_", ""), 0, 64)
	if err != nil || n < lo || n > hi {
		v.fail("want %s, found %q", want, s)
		return 0
	}
	return n
}

func (v value) duration(lo, hi time.Duration) time.Duration {
	want := fmt.Sprintf("a duration from %s to %s, such as 9s", lo, hi)
	s, ok := v.scalar(want)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < lo || d > hi {
		v.fail("want %s, found %q", want, s)
	}
	return d
}

func (v value) addr(want string) netip.Addr {
	s, ok := v.scalar(want)
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is4In6() {
		v.fail("want %s, found %q", want, s)
		return netip.Addr{}
	}
	return a
}

// prefix reads a prefix whose host bits are zero.
func (v value) prefix() netip.Prefix { return parsePrefix(v, v.n.Value) }

func parsePrefix(v value, s string) netip.Prefix {
	if v.n.Kind != yaml.ScalarNode {
		v.fail("want a prefix such as 10.20.0.0/16, found %s", v.kind())
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		v.fail("want a prefix such as 10.20.0.0/16, found %q", s)
		return netip.Prefix{}
	case p.Addr().Is4In6():
		v.fail("want a prefix such as 10.20.0.0/16, found the IPv4-mapped %q", s)
		return netip.Prefix{}
	case p != p.Masked():
		v.fail("want a prefix without host bits: %s, found %q", p.Masked(), s)
	}
	return p.Masked()
}

// address reads an interface's address with its length.
func (v value) address() netip.Prefix {
	s, ok := v.scalar("an address with a length such as 192.0.2.1/30")
	if !ok {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() || p.Bits() == 0 {
		v.fail("want an address with a length such as 192.0.2.1/30, found %q", s)
		return netip.Prefix{}
	}
	return p
}

// capacity reads a rate: 500mbit, 1gbit.
func (v value) capacity() uint64 {
	const want = "a rate such as 500mbit or 1gbit"
	s, ok := v.scalar(want)
	if !ok {
		return 0
	}
	for suffix, unit := range map[string]uint64{"kbit": 1e3, "mbit": 1e6, "gbit": 1e9} {
		if head, ok := strings.CutSuffix(s, suffix); ok {
			if n, err := strconv.ParseUint(head, 10, 32); err == nil && n > 0 && n < 1e7 {
				return n * unit
			}
		}
	}
	v.fail("want %s, found %q", want, s)
	return 0
}
