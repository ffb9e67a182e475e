package world

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// EdgeFiles are the files that an edge's configuration names.
type EdgeFiles struct {
	Socket string
	// Password gives the name of the file that holds a link's password.
	Password func(link string) string
}

// EdgeConfig writes the configuration that fits an edge to the world.
func (w *World) EdgeConfig(files EdgeFiles) string {
	c := &configWriter{}
	s := w.Site
	c.line(0, "site: %s", s.Name)
	c.line(0, "asn: %d", s.ASN)
	c.line(0, "router-id: %s", s.RouterID)
	c.extra(0, s.Edge)
	c.line(0, "inside:")
	c.line(1, "interfaces: [%s]", s.Interface)
	c.line(1, "networks: %s", list(s.Networks))
	c.line(0, "paths:")
	for _, p := range w.Paths {
		w.writePath(c, p, files)
	}
	if len(w.Steer) > 0 {
		c.line(0, "steer:")
	}
	for _, r := range w.Steer {
		c.line(1, "- {name: %s, to: %s, use: [%s], otherwise: %s}", r.Name, list(r.To), strings.Join(r.Use, ", "), r.Otherwise)
	}
	c.line(0, "api: {socket: %q}", files.Socket)
	return c.String()
}

func (w *World) writePath(c *configWriter, p Path, files EdgeFiles) {
	c.line(1, "%s:", p.Name)
	c.line(2, "provider: %s", p.Provider)
	if p.Peering != "" {
		c.line(2, "peering: %s", p.Peering)
	}
	c.extra(2, p.Edge)
	if len(p.Announce) > 0 {
		c.line(2, "announce: %s", list(p.Announce))
	}
	if len(p.NAT) > 0 {
		c.line(2, "nat:")
		for _, n := range slices.SortedFunc(maps.Keys(p.NAT), func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) }) {
			c.line(3, "%q: %q", n, p.NAT[n])
		}
	}
	c.line(2, "links:")
	for _, r := range w.Routers {
		if r.PathName() == p.Name {
			writeLink(c, r, files)
		}
	}
}

func writeLink(c *configWriter, r Router, files EdgeFiles) {
	_, name, _ := strings.Cut(r.Link, "/")
	c.line(3, "%s:", name)
	c.line(4, "interface: %s", r.Interface)
	far := "gateway"
	if r.ASN != 0 {
		far = "neighbor"
	}
	for _, v6 := range []bool{false, true} {
		suffix := map[bool]string{false: "", true: "6"}[v6]
		if a := r.SiteAddress(v6); a.IsValid() {
			c.line(4, "address%s: %s", suffix, a)
			c.line(4, "%s%s: %q", far, suffix, r.Address(v6).Addr())
		}
	}
	if r.ASN == 0 {
		c.extra(4, r.Edge)
		return
	}
	c.line(4, "asn: %d", r.ASN)
	if r.Hold > 0 {
		c.line(4, "hold: %s", r.Hold)
	}
	if r.TTLSecurity {
		c.line(4, "ttl-security: true")
	}
	if r.Password != "" {
		c.line(4, "password-file: %q", files.Password(r.Link))
	}
	c.extra(4, r.Edge)
}

type configWriter struct{ strings.Builder }

func (c *configWriter) line(depth int, format string, args ...any) {
	fmt.Fprintf(c, strings.Repeat("  ", depth)+format+"\n", args...)
}

func (c *configWriter) extra(depth int, keys map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		c.line(depth, "%s: %s", k, keys[k])
	}
}

func list(prefixes []netip.Prefix) string {
	var out []string
	for _, p := range prefixes {
		out = append(out, fmt.Sprintf("%q", p.String()))
	}
	return "[" + strings.Join(out, ", ") + "]"
}
