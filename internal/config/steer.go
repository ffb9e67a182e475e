package config

import (
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// learnedPrefix stands before the name of a path whose announced prefixes are meant.
const learnedPrefix = "learned/"

func (p *parser) steer(v value) {
	for _, item := range v.list() {
		p.c.Steer = append(p.c.Steer, p.steerRule(item))
	}
}

func (p *parser) steerRule(item value) Steer {
	s := Steer{line: item.n.Line}
	sticky := ""
	item.fields("a steer rule", map[string]func(value){
		"name": func(v value) { s.Name = v.name() },
		"from": func(v value) {
			for _, f := range v.list() {
				s.From = append(s.From, f.prefix())
			}
		},
		"to":       func(v value) { s.To, s.Learned = destinations(v) },
		"protocol": func(v value) { s.Protocol = protocol(v) },
		"ports": func(v value) {
			for _, n := range v.list() {
				s.Ports = append(s.Ports, uint16(n.number(1, 65535, "a port")))
			}
		},
		"dscp": func(v value) {
			d := uint8(v.number(0, 63, "a DSCP"))
			s.DSCP = &d
		},
		"use":      func(v value) { s.Use, s.Weights = tiersOfPaths(v) },
		"failback": func(v value) { s.Hard = v.word("soft", "hard") == "hard" },
		"otherwise": func(v value) {
			s.Drop = v.word("drop", "any") == "drop"
		},
		"limit": func(v value) {
			s.Limit = map[string]uint64{}
			for _, f := range v.mapping("paths with a rate for each") {
				s.Limit[f.key] = f.capacity()
			}
		},
		"sticky": func(v value) { sticky = v.word("connections", "none") },
	})
	s.Sticky = sticky == "connections" || sticky == "" && !s.Pin()
	return s
}

// destinations reads prefixes and learned/PATH; one alone may stand without a list.
func destinations(v value) (to []netip.Prefix, learned []string) {
	items := []value{v}
	if v.n.Kind == yaml.SequenceNode {
		items = v.list()
	}
	for _, t := range items {
		if name, ok := strings.CutPrefix(t.n.Value, learnedPrefix); ok && t.n.Kind == yaml.ScalarNode {
			learned = append(learned, name)
			continue
		}
		to = append(to, t.prefix())
	}
	return to, learned
}

// tiersOfPaths reads tiers: a path alone, or a list of those that share one, each by its name or as {NAME: WEIGHT}.
// weights is nil where no path has one.
func tiersOfPaths(v value) (use [][]string, weights [][]int) {
	weighted := false
	for _, u := range v.list() {
		if u.n.Kind != yaml.SequenceNode {
			use, weights = append(use, []string{u.name()}), append(weights, nil)
			continue
		}
		var tier []string
		var shares []int
		for _, e := range u.list() {
			if e.n.Kind != yaml.MappingNode {
				tier, shares = append(tier, e.name()), append(shares, 1)
				continue
			}
			fields := e.mapping("a path with its weight")
			if len(fields) != 1 {
				e.fail("want one path with its weight, such as {isp-a: 3}, found %d", len(fields))
				continue
			}
			tier, shares = append(tier, fields[0].key), append(shares, int(fields[0].number(1, 100, "a weight")))
			weighted = true
		}
		use, weights = append(use, tier), append(weights, shares)
	}
	if !weighted {
		weights = nil
	}
	return use, weights
}

func protocol(v value) kstate.L4Protocol {
	switch v.word("tcp", "udp", "icmp") {
	case "tcp":
		return kstate.TCP
	case "udp":
		return kstate.UDP
	case "icmp":
		return kstate.ICMP
	}
	return 0
}

// word reads one of a few words.
func (v value) word(allowed ...string) string {
	want := strings.Join(allowed[:len(allowed)-1], ", ") + " or " + allowed[len(allowed)-1]
	s, ok := v.scalar(want)
	if ok && !slices.Contains(allowed, s) {
		v.fail("want %s, found %q", want, s)
		return ""
	}
	return s
}

func (c *Config) checkSteer(r *reader) {
	names := map[string]bool{}
	selective := 0
	for _, s := range c.Steer {
		key := "steer." + s.Name
		if s.Name == "" {
			r.fail(s.line, "steer", "want the key \"name\", found none")
		} else if names[s.Name] {
			r.fail(s.line, key, "the name stands already")
		}
		names[s.Name] = true
		if len(s.To)+len(s.Learned) == 0 && !s.Selective() {
			r.fail(s.line, key, "want the key \"to\", or from, protocol, ports or dscp, found none")
		}
		if len(s.Use) == 0 {
			r.fail(s.line, key, "want the key \"use\" with at least one path, found none")
		}
		if len(s.Ports) > 0 && s.Protocol != kstate.TCP && s.Protocol != kstate.UDP {
			r.fail(s.line, key, "ports need protocol: tcp or udp")
		}
		for _, f := range s.From {
			if !slices.ContainsFunc(c.Inside.Networks, func(n netip.Prefix) bool { return route.Contains(n, f) }) {
				r.fail(s.line, key+".from", "%s lies in none of inside.networks", f)
			}
		}
		used := map[string]bool{}
		for _, name := range append(slices.Concat(s.Use...), s.Learned...) {
			if !slices.ContainsFunc(c.Paths, func(p Path) bool { return p.Name == name }) {
				r.fail(s.line, key+".use", "want paths of this file (%s), found %q", strings.Join(c.pathNames(), ", "), name)
			}
		}
		for name := range s.Limit {
			if !slices.ContainsFunc(c.Paths, func(p Path) bool { return p.Name == name }) {
				r.fail(s.line, key+".limit", "want paths of this file (%s), found %q", strings.Join(c.pathNames(), ", "), name)
			}
		}
		for _, name := range slices.Concat(s.Use...) {
			if used[name] {
				r.fail(s.line, key+".use", "%s stands twice", name)
			}
			used[name] = true
		}
		if s.Selective() {
			selective++
		}
	}
	if n := len(c.links()) + selective + c.ReplyLinks(); n > kstate.MaxLinks {
		r.fail(1, "steer", "want at most %d links, once more those of circuits, and rules with from, protocol, ports or dscp together, found %d", kstate.MaxLinks, n)
	}
}

// ReplyLinks counts the links whose replies have a mark of their own: those of circuits.
func (c *Config) ReplyLinks() int {
	n := 0
	for _, p := range c.Paths {
		if p.Provider.Circuit {
			n += len(p.Links)
		}
	}
	return n
}

func (c *Config) links() []Link {
	var out []Link
	for _, p := range c.Paths {
		out = append(out, p.Links...)
	}
	return out
}
