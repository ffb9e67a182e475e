package config

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"go.yaml.in/yaml/v3"

	"bothways/internal/policy"
)

// later are keys of the contract that this version does not act on; a file that has one asks for something it would not
// get, so it is refused with these words instead of as unknown.
var later = map[string]bool{
	"neighbors": true,
}

// MaxSize bounds a configuration file.
const MaxSize = 1 << 20

// ReadFile reads a small file, such as one that holds a password.
type ReadFile func(name string) ([]byte, error)

// Parse reads a configuration. The error is of all *Problem found, joined. file is the name to put into them.
func Parse(in io.Reader, file string, read ReadFile) (*Config, error) {
	data, err := io.ReadAll(io.LimitReader(in, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	r := &reader{file: file}
	if len(data) > MaxSize {
		r.fail(1, "", "want at most %d bytes, found more", MaxSize)
		return nil, r.err()
	}
	root, err := document(data, file)
	if err != nil {
		return nil, err
	}
	p := &parser{reader: r, read: read, c: &Config{Mark: 0xff, Compress: true}}
	p.c.API.Socket = DefaultSocket
	p.site(value{r, root, ""})
	if len(r.problems) == 0 {
		p.c.check(r)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return p.c, nil
}

// DefaultSocket is where the daemon answers unless api.socket says otherwise.
const DefaultSocket = "/run/bothways/api.sock"

func document(data []byte, file string) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &Problem{file, 1, "", "want a configuration, found nothing"}
		}
		return nil, broken(file, err)
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, &Problem{file, more.Line, "", "want one document, found a second"}
	case !errors.Is(err, io.EOF):
		return nil, broken(file, err)
	}
	if len(doc.Content) == 0 {
		return nil, &Problem{file, 1, "", "want a configuration, found nothing"}
	}
	return doc.Content[0], nil
}

// broken is the problem that something is no YAML.
func broken(file string, err error) *Problem {
	line, text := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		_, text, _ = strings.Cut(text, ": ")
	}
	return &Problem{file, line, "", text}
}

type parser struct {
	*reader
	read ReadFile
	c    *Config
}

func (p *parser) site(v value) {
	c := p.c
	v.fields("a site's configuration", map[string]func(value){
		"site":      func(v value) { c.Site = v.name() },
		"asn":       func(v value) { c.ASN = asn(v) },
		"router-id": func(v value) { c.RouterID = routerID(v) },
		"mark":      func(v value) { c.Mark = mark(v) },
		"inside":    p.inside,
		"paths":     p.paths,
		"steer":     p.steer,
		"api":       p.api,
		"state":     func(v value) { c.State, _ = v.scalar("a directory") },
		"compress":  func(v value) { c.Compress = v.bool() },
		"symmetry":  func(v value) { c.Observe = v.word("enforce", "observe") == "observe" },
	})
	if len(p.problems) > 0 {
		return
	}
	for _, x := range []struct {
		key     string
		missing bool
	}{
		{"site", c.Site == ""}, {"inside.networks", len(c.Inside.Networks) == 0}, {"paths", len(c.Paths) == 0},
	} {
		if x.missing {
			p.fail(v.n.Line, "", "want the key %q, found none", x.key)
		}
	}
}

func asn(v value) uint32 { return uint32(v.number(1, 4294967294, "an AS number")) }

func routerID(v value) netip.Addr {
	a := v.addr("a router id such as 203.0.113.1")
	if a.IsValid() && (!a.Is4() || a.IsUnspecified()) {
		v.fail("want a router id such as 203.0.113.1, found %q", a)
	}
	return a
}

// mark is the mask of one byte.
func mark(v value) uint32 {
	m := uint32(v.number(1, 0xffffffff, "the mask of a byte, 0xff, 0xff00, 0xff0000 or 0xff000000,"))
	switch m {
	case 0, 0xff, 0xff00, 0xff0000, 0xff000000:
	default:
		v.fail("want the mask of a byte, 0xff, 0xff00, 0xff0000 or 0xff000000, found %#x", m)
	}
	return m
}

func (p *parser) inside(v value) {
	in := &p.c.Inside
	v.fields("the inside's interfaces and networks", map[string]func(value){
		"interfaces": func(v value) {
			for _, i := range v.list() {
				in.Interfaces = append(in.Interfaces, i.interfaceName())
			}
		},
		"networks": func(v value) {
			for _, n := range v.list() {
				in.Networks = append(in.Networks, n.prefix())
			}
		},
		"routes": func(v value) {
			for _, f := range v.mapping("networks with the router that leads to each") {
				r := InsideRoute{parsePrefix(f.value, f.key), f.addr("the address of a router")}
				if r.Network.IsValid() && r.Via.IsValid() && r.Network.Addr().Is4() != r.Via.Is4() {
					f.fail("want a router of the network's family, found %s", r.Via)
				}
				in.Routes = append(in.Routes, r)
			}
		},
	})
}

func role(v value) policy.Role {
	switch s, _ := v.scalar("the neighbor's role: provider, peer or customer"); s {
	case "provider":
		return policy.RoleProvider
	case "peer":
		return policy.RolePeer
	case "customer":
		return policy.RoleCustomer
	case "":
	default:
		v.fail("want the neighbor's role: provider, peer or customer, found %q", s)
	}
	return policy.RoleUnset
}
