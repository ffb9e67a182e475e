package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"bothways/internal/nat"
	"bothways/internal/policy"
	"bothways/internal/provider"
	"bothways/internal/route"
)

func (p *parser) paths(v value) {
	for _, f := range v.mapping("paths by name") {
		if !validName(f.key) {
			f.fail("want a path's name of letters, digits, '-' and '_', found %q", f.key)
		}
		p.path(f.key, f.value)
	}
}

func (p *parser) path(name string, v value) {
	path := Path{Name: name, Prove: defaultProve(), line: v.n.Line}
	var links, accept *value
	v.fields("a path's settings", map[string]func(value){
		"provider": func(v value) { path.Provider = profile(v) },
		"peering":  func(v value) { path.Peering, _ = v.scalar("a peering") },
		"capacity": func(v value) { path.Capacity = v.capacity() },
		"links":    func(v value) { links = &v },
		"accept":   func(v value) { accept = &v },
		"announce": func(v value) {
			for _, a := range v.list() {
				path.Announce = append(path.Announce, a.prefix())
			}
		},
		"prepend":    func(v value) { path.Prepend = int(v.number(0, 20, "a count")) },
		"preference": func(v value) { path.Preference = uint32(v.number(1, 4294967295, "a local preference")) },
		"nat":        func(v value) { path.NAT = translations(v) },
		"publish":    func(v value) { path.Publish = published(v) },
		"shape":      func(v value) { path.Take = v.word("take", "leave") == "take" },
		"track":      func(v value) { path.Track = p.track(v) },
		"sticky":     func(v value) { path.Loose = v.word("connections", "none") == "none" },
		"prove":      func(v value) { path.Prove = prove(v) },
		"shared":     func(v value) { path.Shared = v.bool() },
	})
	if path.Provider.Name == "" {
		if len(p.problems) == 0 {
			v.fail("want the key \"provider\", one of %s, found none", strings.Join(provider.Names(), ", "))
		}
		return
	}
	if err := path.Provider.CheckPeering(path.Peering); err != nil {
		v.fail("peering: %s", err)
	}
	// The lists are read last: what they may say depends on the provider, wherever in the file it stands.
	if accept != nil {
		p.accept(&path, *accept)
	} else {
		path.Accept.All = path.Provider.AcceptAll
	}
	if links == nil {
		v.fail("want the key \"links\" with at least one link, found none")
		return
	}
	for _, f := range links.mapping("links by name") {
		if !validName(f.key) {
			f.fail("want a link's name of letters, digits, '-' and '_', found %q", f.key)
		}
		path.Links = append(path.Links, p.link(path, f.key, f.value))
	}
	p.c.Paths = append(p.c.Paths, path)
}

func profile(v value) provider.Profile {
	want := "a provider, one of " + strings.Join(provider.Names(), ", ")
	s, ok := v.scalar(want)
	if !ok {
		return provider.Profile{}
	}
	pr, ok := provider.ByName(s)
	if !ok {
		v.fail("want %s, found %q", want, s)
	}
	return pr
}

func (p *parser) accept(path *Path, v value) {
	a := &path.Accept
	if v.n.Kind == yaml.ScalarNode && v.n.Value == "all" {
		a.All = true
		return
	}
	for _, item := range v.list() {
		s, ok := item.scalar("all, a name, a community or a prefix")
		if !ok {
			continue
		}
		if s == "all" {
			a.All = true
		} else if cs, ok := path.Provider.Communities(s); ok {
			a.Communities = append(a.Communities, cs...)
		} else if c, err := route.ParseCommunity(s); err == nil {
			a.Communities = append(a.Communities, c)
		} else if pre, err := netip.ParsePrefix(s); err == nil && pre == pre.Masked() {
			a.Prefixes = append(a.Prefixes, pre)
		} else {
			hint := ""
			if like := path.Provider.Like(s); len(like) > 0 {
				hint = fmt.Sprintf(" (names of %s like it: %s)", path.Provider.Name, strings.Join(like, ", "))
			}
			item.fail("want all, a name of provider %s, a community or a prefix, found %q%s", path.Provider.Name, s, hint)
		}
	}
}

func translations(v value) []nat.Entry {
	var out []nat.Entry
	for _, f := range v.mapping("inside networks with what each becomes") {
		e := nat.Entry{Network: parsePrefix(f.value, f.key)}
		s, ok := f.scalar("a pool, interface or none")
		switch {
		case !ok:
		case s == "none":
			e.Kind = nat.None
		case s == "interface":
			e.Kind = nat.Interface
		default:
			e.Kind, e.To = nat.Pool, parsePrefix(f.value, s)
			if e.Network.IsValid() && e.Network.Addr().Is6() {
				e.Kind = nat.Prefix
			}
		}
		out = append(out, e)
	}
	return out
}

func (p *parser) link(path Path, name string, v value) Link {
	l := Link{Path: path.Name, Name: name, Hold: path.Provider.Hold, Limit: policy.DefaultLimit(),
		GracefulRestart: path.Provider.GracefulRestart, line: v.n.Line}
	var gateway *value
	bgp := ""
	only := func(key string, read func(value)) func(value) {
		return func(v value) { bgp = key; read(v) }
	}
	v.fields("a link's settings", map[string]func(value){
		"interface": func(v value) { l.Interface = v.interfaceName() },
		"address": func(v value) {
			if v.n.Value == "auto" {
				l.Auto = true
				return
			}
			l.Address4 = v.address()
			if l.Address4.IsValid() && !l.Address4.Addr().Is4() {
				v.fail("want an IPv4 address (IPv6 is address6), found %q", v.n.Value)
			}
		},
		"address6": func(v value) {
			l.Address6 = v.address()
			if l.Address6.IsValid() && !l.Address6.Addr().Is6() {
				v.fail("want an IPv6 address, found %q", v.n.Value)
			}
		},
		"neighbor":  func(v value) { l.BGP = true; l.Neighbor4 = familyAddr(v, route.IPv4) },
		"neighbor6": func(v value) { l.BGP = true; l.Neighbor6 = familyAddr(v, route.IPv6) },
		"gateway": func(v value) {
			gateway = &v
			if v.n.Value == "auto" {
				l.AutoGateway = true
				return
			}
			l.Neighbor4 = familyAddr(v, route.IPv4)
		},
		"gateway6": func(v value) {
			gateway = &v
			l.Neighbor6 = familyAddr(v, route.IPv6)
		},
		"asn": only("asn", func(v value) { l.ASN = asn(v) }),
		"hold": only("hold", func(v value) {
			if l.Hold = v.duration(3*time.Second, 65535*time.Second); l.Hold%time.Second != 0 {
				v.fail("want whole seconds, found %s", l.Hold) // an OPEN has no others
			}
		}),
		"ttl-security":     only("ttl-security", func(v value) { l.TTLSecurity = v.bool() }),
		"passive":          only("passive", func(v value) { l.Passive = v.bool() }),
		"role":             only("role", func(v value) { l.Role = role(v) }),
		"strict-role":      only("strict-role", func(v value) { l.StrictRole = v.bool() }),
		"graceful-restart": only("graceful-restart", func(v value) { l.GracefulRestart = v.bool() }),
		"next-hop": only("next-hop", func(v value) {
			s, ok := v.scalar("neighbor or peer")
			if l.AnyNextHop = s == "peer"; ok && s != "peer" && s != "neighbor" {
				v.fail("want neighbor or peer, found %q", s)
			}
		}),
		"max-prefixes":   only("max-prefixes", func(v value) { l.Limit = limit(v) }),
		"hold-last-good": only("hold-last-good", func(v value) { l.LastGood = holdLastGood(v) }),
		"bfd":            func(v value) { l.BFD = bfd(v, path.Provider) },
		"password-file":  only("password-file", func(v value) { l.Password = p.password(v) }),
	})
	switch {
	case l.BGP && gateway != nil:
		gateway.fail("want neighbor (with BGP) or gateway (without), found both")
	case l.BGP && l.Auto:
		v.fail("want an address for BGP, found auto")
	case !l.BGP && bgp != "":
		v.fail("%s: is for links with BGP, and this one has no neighbor", bgp)
	}
	if l.ASN == 0 {
		l.ASN = path.Provider.ASN
	}
	return l
}

func familyAddr(v value, f route.Family) netip.Addr {
	a := v.addr("an " + f.String() + " address")
	if a.IsValid() && route.FamilyOf(a) != f {
		v.fail("want an %s address, found %s", f, a)
		return netip.Addr{}
	}
	return a
}

func limit(v value) policy.Limit {
	l := policy.DefaultLimit()
	if v.n.Kind == yaml.ScalarNode {
		l.Max = int(v.number(1, 1<<31-1, "a count"))
		l.Then = policy.LimitRestart
		return l
	}
	v.fields("a count, or limit, warn and then", map[string]func(value){
		"count": func(v value) { l.Max = int(v.number(1, 1<<31-1, "a count")) },
		"warn":  func(v value) { l.Warn = int(v.number(1, 100, "percent")) },
		"then": func(v value) {
			s, _ := v.scalar("block, restart or warn")
			switch l.Then = policy.LimitAction(s); l.Then {
			case policy.LimitBlock, policy.LimitRestart, policy.LimitWarn, "":
			default:
				v.fail("want block, restart or warn, found %q", s)
			}
		},
	})
	return l
}

// holdLastGood reads a time, or a time with a share and what follows.
func holdLastGood(v value) policy.LastGood {
	h := policy.LastGood{Share: 50}
	long := 7 * 24 * time.Hour
	if v.n.Kind == yaml.ScalarNode {
		h.For = v.duration(time.Second, long)
		return h
	}
	v.fields("a time, or for, share and then", map[string]func(value){
		"for":   func(v value) { h.For = v.duration(time.Second, long) },
		"share": func(v value) { h.Share = int(v.number(1, 100, "percent")) },
		"then":  func(v value) { h.Keep = v.word("take", "keep") == "keep" },
	})
	if h.For == 0 {
		v.fail("want the key \"for\", a time, found none")
	}
	return h
}

// password reads the key from its file; TCP MD5 takes at most 80 bytes in Linux.
func (p *parser) password(v value) []byte {
	name, ok := v.scalar("the name of a file")
	if !ok {
		return nil
	}
	data, err := p.read(name)
	if err != nil {
		v.fail("%s", err)
		return nil
	}
	key := strings.TrimRight(string(data), "\r\n")
	if key == "" || len(key) > 80 || strings.ContainsAny(key, "\x00\n") {
		v.fail("want one line of 1 to 80 characters in %s, found %d", name, len(key))
		return nil
	}
	return []byte(key)
}
