package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"bothways/internal/kstate"
	"bothways/internal/nat"
)

// published reads hosts by the address, or the address, port and protocol, under which they are seen outside.
func published(v value) []nat.Publish {
	var out []nat.Publish
	for _, f := range v.mapping("outside addresses, or ADDRESS:PORT/tcp, with the inside host of each") {
		p := nat.Publish{}
		var ok bool
		if p.Outside, p.Port, p.Protocol, ok = outside(f.key); !ok {
			f.fail("want an address, or ADDRESS:PORT/tcp or /udp, found %q", f.key)
			continue
		}
		to := f.value
		if f.n.Kind == yaml.MappingNode {
			found := false
			f.fields("to and source-nat", map[string]func(value){
				"to":         func(v value) { to, found = v, true },
				"source-nat": func(v value) { p.SourceNAT = v.bool() },
			})
			if !found {
				f.fail("want the key \"to\", found none")
				continue
			}
		}
		if p.Inside, p.To, ok = insideHost(to.n.Value, p.Port); !ok || to.n.Kind != yaml.ScalarNode {
			to.fail("want an inside address, or ADDRESS:PORT for one port, found %s", to.kind())
			continue
		}
		if p.Inside.Is4() != p.Outside.Is4() {
			to.fail("want an address of the same family as %s, found %s", p.Outside, p.Inside)
		}
		out = append(out, p)
	}
	return out
}

func outside(s string) (a netip.Addr, port uint16, protocol kstate.L4Protocol, ok bool) {
	head, name, has := strings.Cut(s, "/")
	if !has {
		a, err := netip.ParseAddr(s)
		return a, 0, 0, err == nil && !a.Is4In6()
	}
	ap, err := netip.ParseAddrPort(head)
	protocol = map[string]kstate.L4Protocol{"tcp": kstate.TCP, "udp": kstate.UDP}[name]
	return ap.Addr(), ap.Port(), protocol, err == nil && protocol != 0 && ap.Port() != 0
}

// insideHost reads an address; for a single port a port may follow, which is the same one otherwise.
func insideHost(s string, port uint16) (netip.Addr, uint16, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a, port, true
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr(), ap.Port(), err == nil && port != 0 && ap.Port() != 0
}

func (c *Config) checkPublish(r *reader, p *Path) {
	seen := map[string]bool{}
	for _, x := range p.Publish {
		key := "paths." + p.Name + ".publish"
		if !slices.ContainsFunc(c.Inside.Networks, func(n netip.Prefix) bool { return n.Contains(x.Inside) }) {
			r.fail(p.line, key, "%s lies in none of inside.networks", x.Inside)
		}
		name := x.Outside.String() + " " + strconv.Itoa(int(x.Port)) + x.Protocol.String()
		if seen[name] {
			r.fail(p.line, key, "%s is published twice", x.Outside)
		}
		seen[name] = true
	}
}
