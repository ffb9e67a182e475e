package world

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"bothways/internal/lab/feed"
)

//go:embed default.yaml
var defaultFile []byte

// DefaultFile is the description of the default world, for people to start theirs from.
func DefaultFile() []byte { return slices.Clone(defaultFile) }

// Default is the world that the demo runs in.
func Default() *World {
	w, err := Parse(bytes.NewReader(defaultFile))
	if err != nil {
		panic("world: " + err.Error())
	}
	return w
}

// Parse reads a description. Unknown keys and contradictions are errors.
func Parse(r io.Reader) (*World, error) {
	d := yaml.NewDecoder(r)
	d.KnownFields(true)
	w := &World{}
	if err := d.Decode(w); err != nil {
		return nil, fmt.Errorf("world: %w", err)
	}
	if err := w.Check(); err != nil {
		return nil, fmt.Errorf("world: %w", err)
	}
	return w, nil
}

// Check finds what cannot be raised.
func (w *World) Check() error {
	var problems []error
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if w.Site.Interface == "" || len(w.Site.Hosts) == 0 || len(w.Site.Addresses) == 0 {
		fail("site: want an interface, addresses and at least one host")
	}
	names := map[string]bool{"edge": true, "lan": true, "cloud": true, "internet": true}
	unique := func(kind, name string) {
		if name == "" || names[name] {
			fail("%s: want a name of its own, found %q", kind, name)
		}
		names[name] = true
	}
	interfaces := map[string]bool{w.Site.Interface: true}
	for _, r := range w.Routers {
		unique("router", r.Name)
		unique("link", kindOf(r))
		if r.Interface == "" || len(r.Interface) > 15 || interfaces[r.Interface] {
			fail("router %s: want an interface of its own, found %q", r.Name, r.Interface)
		}
		interfaces[r.Interface] = true
		w.checkRouter(r, fail)
	}
	for _, list := range [][]Host{w.Site.Hosts, w.Cloud, w.Internet} {
		for _, h := range list {
			unique("host", h.Name)
			if len(h.Addresses) == 0 {
				fail("host %s: want at least one address", h.Name)
			}
		}
	}
	return errors.Join(problems...)
}

// kindOf keeps a link's name apart from a router's that may be the same.
func kindOf(r Router) string { return "link " + r.Link }

func (w *World) checkRouter(r Router, fail func(string, ...any)) {
	if r.Side != Circuit && r.Side != Internet {
		fail("router %s: side: want circuit or internet, found %q", r.Name, r.Side)
	}
	if w.Path(r.PathName()) == nil {
		fail("router %s: link %q is of no path", r.Name, r.Link)
	}
	for _, v6 := range []bool{false, true} {
		site, own := r.SiteAddress(v6), r.Address(v6)
		if site.IsValid() != own.IsValid() || site.IsValid() && site.Masked() != own.Masked() {
			fail("router %s: site and addresses: want the same subnets, found %v and %v", r.Name, r.Site, r.Addresses)
		}
	}
	for _, name := range r.Feeds {
		if !slices.Contains(feed.Names(), name) {
			fail("router %s: feeds: want some of %v, found %q", r.Name, feed.Names(), name)
		}
	}
	if r.ASN == 0 && (r.Default || len(r.Feeds)+len(r.Prefixes) > 0 || r.Password != "") {
		fail("router %s: it announces and has no asn", r.Name)
	}
}

// SetFamilies leaves only IPv4 (or only IPv6) in a world, for tests that need one alone.
func (w *World) SetFamilies(v4, v6 bool) {
	keep := func(a netip.Addr) bool { return a.Is4() && v4 || a.Is6() && v6 }
	prefixes := func(list []netip.Prefix) []netip.Prefix {
		return slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool { return !keep(p.Addr()) })
	}
	hosts := func(list []Host) {
		for i := range list {
			list[i].Addresses = slices.DeleteFunc(list[i].Addresses, func(a netip.Addr) bool { return !keep(a) })
		}
	}
	w.Site.Addresses, w.Site.Networks = prefixes(w.Site.Addresses), prefixes(w.Site.Networks)
	hosts(w.Site.Hosts)
	hosts(w.Cloud)
	hosts(w.Internet)
	for i := range w.Paths {
		p := &w.Paths[i]
		p.Announce = prefixes(p.Announce)
		for n := range p.NAT {
			if !keep(n.Addr()) {
				delete(p.NAT, n)
			}
		}
	}
	for i := range w.Routers {
		r := &w.Routers[i]
		r.Site, r.Addresses, r.Assigned = prefixes(r.Site), prefixes(r.Addresses), prefixes(r.Assigned)
		r.Prefixes = prefixes(r.Prefixes)
	}
	for i := range w.Steer {
		w.Steer[i].To = prefixes(w.Steer[i].To)
	}
}
