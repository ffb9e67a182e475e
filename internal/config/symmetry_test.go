package config

import (
	"fmt"
	"strings"
	"testing"
)

// twoPaths is a circuit and an ISP with BGP, each with a pool of its own.
const twoPaths = `site: s
asn: 4200000001
router-id: 203.0.113.1
inside: {interfaces: [lan0], networks: [10.20.0.0/16]}
paths:
  er:
    provider: azure
    peering: microsoft
    links:
      primary: {interface: er0, address: 192.0.2.1/30, neighbor: 192.0.2.2}
      secondary: {interface: er1, address: 192.0.2.5/30, neighbor: 192.0.2.6}
    accept: [all]
    announce: [198.51.100.64/28]
    nat: {10.20.0.0/16: 198.51.100.64/28}
  isp:
    provider: internet
    links:
      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1, asn: 64601}
    announce: [203.0.113.0/24]
    nat: {10.20.0.0/16: 203.0.113.0/27}
`

// TestSymmetryCases names each case before a packet flows.
func TestSymmetryCases(t *testing.T) {
	rows := []struct{ name, old, new, want string }{
		{"healthy", "", "", ""},
		{"the circuit's pool is not announced there", "announce: [198.51.100.64/28]", "announce: [198.51.100.80/28]", "warning: path er: case A: pool 198.51.100.64/28 is not announced here"},
		{"the ISP announces the circuit's pool as well", "announce: [203.0.113.0/24]", "announce: [203.0.113.0/24, 198.51.100.64/28]", "error: path er: case A: pool 198.51.100.64/28 is announced as 198.51.100.64/28 on path isp too"},
		{"the ISP announces it more specifically", "announce: [203.0.113.0/24]", "announce: [203.0.113.0/24, 198.51.100.64/29]", "error: path er: case A: pool 198.51.100.64/28 is announced as 198.51.100.64/29 on path isp too"},
		{"the ISP announces a cover of it: the circuit's is longer", "announce: [203.0.113.0/24]", "announce: [203.0.113.0/24, 198.51.100.0/24]", ""},
		{"the circuit announces the ISP's pool", "announce: [198.51.100.64/28]", "announce: [198.51.100.64/28, 203.0.113.0/24]", "error: path isp: case B: pool 203.0.113.0/27 is announced as 203.0.113.0/24 on the circuit er too"},
		{"the circuit announces a part of the ISP's pool", "announce: [198.51.100.64/28]", "announce: [198.51.100.64/28, 203.0.113.8/29]", "error: path isp: case B: pool 203.0.113.0/27 is announced as 203.0.113.8/29 on the circuit er too"},
		{"the circuit's pool is announced there in parts, and a cover of it by the ISP", "announce: [198.51.100.64/28]\n    nat: {10.20.0.0/16: 198.51.100.64/28}\n  isp:\n    provider: internet\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24]", "announce: [198.51.100.64/29, 198.51.100.72/30, 198.51.100.76/30]\n    nat: {10.20.0.0/16: 198.51.100.64/28}\n  isp:\n    provider: internet\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24, 198.51.100.0/24]", ""},
		{"shared on purpose", "announce: [198.51.100.64/28]", "shared: true\n    announce: [198.51.100.64/28, 203.0.113.0/24]", "warning: path isp: case B: pool 203.0.113.0/27 is announced as 203.0.113.0/24 on the circuit er too"},
		{"shared, and the ISP announces it more specifically", "announce: [198.51.100.64/28]\n    nat: {10.20.0.0/16: 198.51.100.64/28}\n  isp:\n    provider: internet\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24]", "announce: [198.51.100.64/28, 203.0.113.0/24]\n    nat: {10.20.0.0/16: 198.51.100.64/28}\n  isp:\n    provider: internet\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24, 203.0.113.0/27]", ""},
		{"shared, and a part is accepted", "accept: [all]\n    announce: [198.51.100.64/28]", "accept: [region/westeurope]\n    shared: true\n    announce: [198.51.100.64/28, 203.0.113.0/24]", "warning: path er: case G: accept takes a part of the provider's prefixes only, and pool 203.0.113.0/27 of path isp is announced here"},
		{"a circuit is preferred to another", "    provider: internet\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1, asn: 64601}\n", "    provider: azure\n    peering: microsoft\n    preference: 140\n    accept: [all]\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1}\n", "warning: path er: case F: preference 150 before 140 of the circuit isp"},
		{"a rule puts one circuit before another", "    provider: internet\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24]\n    nat: {10.20.0.0/16: 203.0.113.0/27}\n", "    provider: azure\n    peering: microsoft\n    accept: [all]\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1}\n    announce: [203.0.113.0/24]\n    nat: {10.20.0.0/16: 203.0.113.0/27}\nsteer:\n  - {name: backup, to: [20.0.0.0/8], use: [er, isp]}\n", "warning: steer backup: case F: the circuit er stands in a tier before the circuit isp"},
		{"two circuits with one pool", "provider: internet\n", "provider: gcp\n    accept: [all]\n", ""},
		{"two circuits, pool announced on both", "    provider: internet\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24]",
			"    provider: gcp\n    accept: [all]\n    links:\n      main: {interface: wan0, address: 198.18.1.2/30, neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24, 198.51.100.64/28]",
			"error: path er: case D: pool 198.51.100.64/28 is announced as 198.51.100.64/28 on the circuit isp too"},
		{"published where not all is accepted: replies take the link that the request came by", "accept: [all]\n    announce: [198.51.100.64/28]", "accept: [region/westeurope]\n    announce: [198.51.100.64/28]\n    publish: {198.51.100.70: 10.20.0.70}", ""},
		{"the same, only observed", "inside: {interfaces: [lan0], networks: [10.20.0.0/16]}\npaths:\n  er:\n    provider: azure\n    peering: microsoft\n    links:\n      primary: {interface: er0, address: 192.0.2.1/30, neighbor: 192.0.2.2}\n      secondary: {interface: er1, address: 192.0.2.5/30, neighbor: 192.0.2.6}\n    accept: [all]\n", "symmetry: observe\ninside: {interfaces: [lan0], networks: [10.20.0.0/16]}\npaths:\n  er:\n    provider: azure\n    peering: microsoft\n    links:\n      primary: {interface: er0, address: 192.0.2.1/30, neighbor: 192.0.2.2}\n      secondary: {interface: er1, address: 192.0.2.5/30, neighbor: 192.0.2.6}\n    publish: {198.51.100.70: 10.20.0.70}\n    accept: [region/westeurope]\n", "warning: path er: case E: 198.51.100.70 is published, and accept takes a part"},
		{"published there with the edge's source", "accept: [all]\n    announce: [198.51.100.64/28]", "accept: [region/westeurope]\n    announce: [198.51.100.64/28]\n    publish: {\"198.51.100.70:25/tcp\": {to: 10.20.0.70, source-nat: true}}", ""},
		{"published on the ISP, announced on the circuit", "announce: [198.51.100.64/28]\n    nat: {10.20.0.0/16: 198.51.100.64/28}\n  isp:", "announce: [198.51.100.64/28, 203.0.113.128/25]\n    nat: {10.20.0.0/16: 198.51.100.64/28}\n  isp:\n    publish: {203.0.113.200: 10.20.0.70}", "warning: path isp: case C: the published address 203.0.113.200 is announced as 203.0.113.128/25 on the circuit er too"},
	}
	for _, row := range rows {
		text := strings.Replace(twoPaths, row.old, row.new, 1)
		if text == twoPaths && row.old != "" {
			t.Fatalf("%s: nothing was replaced", row.name)
		}
		c, err := parse(text)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		var found []string
		for _, f := range Lint(c) {
			found = append(found, f.String())
		}
		all := strings.Join(found, "\n")
		if row.want == "" && all != "" || !strings.Contains(all, row.want) {
			t.Errorf("%s: found\n%s\nwant %q", row.name, all, row.want)
		}
	}
}

// TestPools says by which paths replies to each pool come.
func TestPools(t *testing.T) {
	rows := []struct{ name, old, new, want string }{
		{"each its own", "", "", "er 198.51.100.64/28 by [er] and [], isp 203.0.113.0/27 by [isp] and [isp]"},
		{"the circuit announces the ISP's pool", "announce: [198.51.100.64/28]", "shared: true\n    announce: [198.51.100.64/28, 203.0.113.0/24]",
			"er 198.51.100.64/28 by [er] and [], isp 203.0.113.0/27 by [er] and [isp]"},
		{"and the ISP more specifically", "announce: [203.0.113.0/24]", "shared: true\n    announce: [203.0.113.0/24, 203.0.113.0/27, 198.51.100.64/28]",
			"er 198.51.100.64/28 by [er] and [isp], isp 203.0.113.0/27 by [isp] and [isp]"},
		{"nobody announces it", "announce: [198.51.100.64/28]", "announce: [198.51.100.80/28]", "er 198.51.100.64/28 by [] and [], isp 203.0.113.0/27 by [isp] and [isp]"},
	}
	for _, row := range rows {
		c, err := parse(strings.Replace(twoPaths, row.old, row.new, 1))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range Pools(c) {
			got = append(got, fmt.Sprintf("%s %s by %v and %v", p.Path, p.Prefix, p.Provider, p.Internet))
		}
		if all := strings.Join(got, ", "); all != row.want {
			t.Errorf("%s:\n got %s\nwant %s", row.name, all, row.want)
		}
	}
}
