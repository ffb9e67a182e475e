package config

import (
	"errors"
	"strings"
	"testing"
)

const good = `site: s
asn: 65010
router-id: 203.0.113.1
inside: {interfaces: [lan0], networks: [10.20.0.0/16]}
paths:
  er:
    provider: azure
    peering: microsoft
    links:
      primary: {interface: er0, address: 192.0.2.1/30, neighbor: 192.0.2.2}
    accept: [all]
    announce: [198.51.100.64/28]
    nat: {10.20.0.0/16: 198.51.100.64/28}
  isp:
    provider: internet
    links:
      main: {interface: wan0, address: 198.18.1.2/30, gateway: 198.18.1.1}
    nat: {10.20.0.0/16: interface}
`

func parse(text string) (*Config, error) {
	return Parse(strings.NewReader(text), "f.yaml", func(name string) ([]byte, error) {
		if name == "missing" {
			return nil, errors.New("open missing: no such file or directory")
		}
		return []byte("two\nlines\n"), nil
	})
}

// TestErrors has one row per mistake: what is replaced in a good file by what, and the exact message.
func TestErrors(t *testing.T) {
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}
	rows := []struct{ old, new, want string }{
		{"site: s", "syte: s", `f.yaml:1: unknown key "syte" (meant "site"?)`},
		{"site: s", "site: -s", `f.yaml:1: site: want a name of letters, digits, '-' and '_', beginning with a letter, at most 32, found "-s"`},
		{"site: s", "site: s\nsite: t", `f.yaml:2: key "site" stands already in line 1`},
		{"site: s\n", "", `f.yaml:1: want the key "site", found none`},
		{"asn: 65010", "asn: 0", `f.yaml:2: asn: want an AS number from 1 to 4294967294, found "0"`},
		{"asn: 65010", "asn: [1]", `f.yaml:2: asn: want an AS number from 1 to 4294967294, found a list`},
		{"asn: 65010\n", "", `f.yaml:1: want the key "asn" since links speak BGP, found none`},
		{"asn: 65010", "asn: 12076", `f.yaml:10: paths.er.links.primary: asn 12076 is the site's own: only external BGP is spoken`},
		{"asn: 65010", "asn: 65010\nmark: 0xff0", `f.yaml:3: mark: want the mask of a byte, 0xff, 0xff00, 0xff0000 or 0xff000000, found 0xff0`},
		{"networks: [10.20.0.0/16]", "networks: [10.20.0.0/16], neighbors: {}", `f.yaml:4: inside: key "neighbors" is not supported by this version yet`},
		{"asn: 65010", "asn: 65010\napi: {listen: localhost:8480}", `f.yaml:3: api.listen: want ADDRESS:PORT such as 127.0.0.1:8480, found "localhost:8480"`},
		{"asn: 65010", "asn: 65010\napi: {listen: 127.0.0.1:0}", `f.yaml:3: api.listen: want ADDRESS:PORT such as 127.0.0.1:8480, found "127.0.0.1:0"`},
		{"asn: 65010", "asn: 65010\napi: {listen: \"[::ffff:127.0.0.1]:8480\"}", `f.yaml:3: api.listen: want ADDRESS:PORT such as 127.0.0.1:8480, found "[::ffff:127.0.0.1]:8480"`},
		{"asn: 65010", "asn: 65010\napi: {listen: 0.0.0.0:8480}", `f.yaml:3: api: listen: 0.0.0.0 is not of this host alone: say remote: true if whoever reaches it may read what is served there`},
		{"asn: 65010", "asn: 65010\napi: {listen: 10.20.0.1:8480, remote: false}", `f.yaml:3: api: listen: 10.20.0.1 is not of this host alone: say remote: true`},
		{"asn: 65010", "asn: 65010\napi: {remote: true}", `f.yaml:3: api: remote needs listen: it says that others than this host may ask there`},
		{"router-id: 203.0.113.1", "router-id: fd::1", `f.yaml:3: router-id: want a router id such as 203.0.113.1, found "fd::1"`},
		{"networks: [10.20.0.0/16]", "networks: [10.20.0.1/16]", `f.yaml:4: inside.networks[0]: want a prefix without host bits: 10.20.0.0/16, found "10.20.0.1/16"`},
		{"networks: [10.20.0.0/16]", "networks: [10.20.0.0/16, 10.30.0.0/16]", `f.yaml:7: paths.er.nat: the private inside network 10.30.0.0/16 has no entry (none says that it is meant)`},
		{"networks: [10.20.0.0/16]", "networks: [10.20.0.0/16], routes: {10.30.0.0/16: 10.20.0.2}", `f.yaml:1: inside.routes: 10.30.0.0/16 lies in none of inside.networks`},
		{"provider: azure", "provider: azur", `f.yaml:7: paths.er.provider: want a provider, one of azure, aws, gcp, internet, found "azur"`},
		{"peering: microsoft", "peering: private", `f.yaml:7: paths.er: peering: want one of microsoft, public, found "private"`},
		{"    accept: [all]\n", "", `f.yaml:7: paths.er: want the key "accept": without it nothing is learned here (RFC 8212)`},
		{"accept: [all]", "accept: [region/west]", `f.yaml:11: paths.er.accept[0]: want all, a name of provider azure, a community or a prefix, found "region/west" (names of azure like it: `},
		{"interface: er0", "interface: wan0", `f.yaml:17: paths.isp.links.main: interface wan0 is already that of er/primary: a link is known by its interface`},
		{"interface: er0, ", "", `f.yaml:10: paths.er.links.primary: want the key "interface", found none`},
		{"neighbor: 192.0.2.2", "neighbor: 192.0.2.9", `f.yaml:10: paths.er.links.primary: neighbor 192.0.2.9 is not in the link's subnet 192.0.2.0/30`},
		{"neighbor: 192.0.2.2", "neighbor: 192.0.2.1", `f.yaml:10: paths.er.links.primary: neighbor 192.0.2.1 is the link's own address`},
		{"neighbor: 192.0.2.2", "neighbor: fd::2", `f.yaml:10: paths.er.links.primary.neighbor: want an ipv4 address, found fd::2`},
		{"neighbor: 192.0.2.2", "neighbor: 192.0.2.2, bfd: {interval: 1ms}", `f.yaml:10: paths.er.links.primary.bfd.interval: want a duration from 10ms to 10s, such as 9s, found "1ms"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{icmp: 198.18.53.1}], quorum: 2}", `f.yaml:19: paths.isp.track: quorum: want at most the 1 targets, found 2`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{ping: 198.18.53.1}]}", `f.yaml:19: paths.isp.track.probes[0]: want icmp, tcp, http, dns or arp, found "ping"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{tcp: 198.18.53.1}]}", `f.yaml:19: paths.isp.track.probes[0].tcp: want ADDRESS:PORT, found "198.18.53.1"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{arp: fd20::1}]}", `f.yaml:19: paths.isp.track.probes[0].arp: want an IPv4 address of a host, found "fd20::1"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{icmp: 0.0.0.0}]}", `f.yaml:19: paths.isp.track.probes[0].icmp: want an address of a host, found "0.0.0.0"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{icmp: 224.0.0.1}]}", `f.yaml:19: paths.isp.track.probes[0].icmp: want an address of a host, found "224.0.0.1"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{dns: '::ffff:198.18.53.1'}]}", `f.yaml:19: paths.isp.track.probes[0].dns: want an address of a host, found "::ffff:198.18.53.1"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{tcp: '198.18.53.1:0'}]}", `f.yaml:19: paths.isp.track.probes[0].tcp: want ADDRESS:PORT, found "198.18.53.1:0"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{http: 'ftp://198.18.53.1/'}]}", `f.yaml:19: paths.isp.track.probes[0].http: want a URL with http or https and an address as its host, found "ftp://198.18.53.1/"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{http: 'http://198.18.53.1:99999/'}]}", `f.yaml:19: paths.isp.track.probes[0].http: want a URL with http or https and an address as its host, found "http://198.18.53.1:99999/"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{http: 'http://198.18.53.1:0/'}]}", `f.yaml:19: paths.isp.track.probes[0].http: want a URL with http or https and an address as its host, found "http://198.18.53.1:0/"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {every: 1s}", `f.yaml:19: paths.isp.track: want the key "probes" with at least one target, found none`},
		{"neighbor: 192.0.2.2", "neighbor: 192.0.2.2, hold: 1s", `f.yaml:10: paths.er.links.primary.hold: want a duration from 3s to 18h12m15s, such as 9s, found "1s"`},
		{"neighbor: 192.0.2.2", "neighbor: 192.0.2.2, password-file: missing", `f.yaml:10: paths.er.links.primary.password-file: open missing: no such file or directory`},
		{"neighbor: 192.0.2.2", "neighbor: 192.0.2.2, password-file: x", `f.yaml:10: paths.er.links.primary.password-file: want one line of 1 to 80 characters in x, found 9`},
		{"neighbor: 192.0.2.2", "neighbor: 192.0.2.2, hold: 3500ms", `f.yaml:10: paths.er.links.primary.hold: want whole seconds, found 3.5s`},
		{"gateway: 198.18.1.1", "gateway: 198.18.1.1, hold: 9s", `f.yaml:17: paths.isp.links.main: hold: is for links with BGP, and this one has no neighbor`},
		{"gateway: 198.18.1.1", "gateway: 198.18.1.1, neighbor: 198.18.1.1", `f.yaml:17: paths.isp.links.main.gateway: want neighbor (with BGP) or gateway (without), found both`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    prepend: 1", `f.yaml:15: paths.isp: prepend: is for paths with BGP, and no link of this one has a neighbor`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.21.0.0/16: interface, 10.20.0.0/16: none}", `f.yaml:15: paths.isp.nat: 10.21.0.0/16 is not one of inside.networks`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: 10.20.1.0/24}", `f.yaml:15: paths.isp.nat: pool 10.20.1.0/24 overlaps the inside network 10.20.0.0/16`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, to: [1.2.3.4/32], use: [ispp]}]", `f.yaml:19: steer.a.use: want paths of this file (er, isp), found "ispp"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, to: [learned/err], use: [isp]}]", `f.yaml:19: steer.a.use: want paths of this file (er, isp), found "err"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, use: [isp]}]", `f.yaml:19: steer.a: want the key "to", or from, protocol, ports or dscp, found none`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, to: [1.2.3.4/32], use: [[{er: 0}, isp]]}]", `f.yaml:19: steer[0].use[0][0].er: want a weight from 1 to 100, found "0"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, to: [1.2.3.4/32], use: [isp], failback: now}]", `f.yaml:19: steer[0].failback: want soft or hard, found "now"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsymmetry: yes", `f.yaml:19: symmetry: want enforce or observe, found "yes"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, from: [10.21.0.0/24], use: [isp]}]", `f.yaml:19: steer.a.from: 10.21.0.0/24 lies in none of inside.networks`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, ports: [443], use: [isp]}]", `f.yaml:19: steer.a: ports need protocol: tcp or udp`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, to: learned/er, sticky: yes, use: [isp]}]", `f.yaml:19: steer[0].sticky: want connections or none, found "yes"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    publish: {198.18.1.2: 10.21.0.1}", `f.yaml:15: paths.isp.publish: 10.21.0.1 lies in none of inside.networks`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    publish: {\"198.18.1.2:25\": 10.20.0.1}", `f.yaml:19: paths.isp.publish.198.18.1.2:25: want an address, or ADDRESS:PORT/tcp or /udp, found "198.18.1.2:25"`},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    publish: {198.18.1.2: \"10.20.0.1:25\"}", `f.yaml:19: paths.isp.publish.198.18.1.2: want an inside address, or ADDRESS:PORT for one port, found "10.20.0.1:25"`},
		{"announce: [198.51.100.64/28]", "announce: [198.51.100.64/28, 0.0.0.0/0]", `f.yaml:7: paths.er.announce: 0.0.0.0/0: the site is no transit`},
		{"networks: [10.20.0.0/16]", "networks: [10.20.0.0/16, 0.0.0.0/0]", `f.yaml:1: inside.networks: 0.0.0.0/0 is everything`},
		{"interfaces: [lan0], ", "", `f.yaml:1: inside: want the key "interfaces" with at least one interface, found none`},
		{"site: s", "site: [", `f.yaml:2: `},
		{good, "", `f.yaml:1: want a configuration, found nothing`},
		{good, good + "---\nsite: t\n", `f.yaml:`},
		{good, good + "---\nsteer: [\n", `f.yaml:20: did not find expected node content`},
		{good, good + "...\nsteer: a: b\n", `f.yaml:19: did not find expected <document start>`},
	}
	for _, row := range rows {
		text := strings.Replace(good, row.old, row.new, 1)
		if text == good {
			t.Fatalf("%q is not in the good file", row.old)
		}
		_, err := parse(text)
		if err == nil {
			t.Errorf("%q: no error, want %s", row.new, row.want)
			continue
		}
		if !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%q:\n got %s\nwant %s", row.new, err, row.want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	text := strings.Replace(good, "asn: 65010", "asn: many", 1)
	text = strings.Replace(text, "provider: internet", "provider: isp", 1)
	_, err := parse(text)
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want two problems, got %v", err)
	}
	var p *Problem
	if !errors.As(err, &p) || p.Line != 2 {
		t.Errorf("first problem: %+v", p)
	}
}

func TestLint(t *testing.T) {
	rows := []struct{ old, new, want string }{
		{"nothing", "nothing", ""},
		{"announce: [198.51.100.64/28]", "announce: [198.51.100.64/28, 10.9.0.0/16]", "the private prefix 10.9.0.0/16 is announced"},
		{"announce: [198.51.100.64/28]", "announce: [198.51.100.0/27]", "pool 198.51.100.64/28 is not announced here"},
		{"announce: [198.51.100.64/28]", "announce: [198.51.100.64/28]\n    prepend: 2", "prepend 2 does nothing with the private AS 65010"},
		{"asn: 65010", "asn: 64500", "AS 64500 is for documentation"},
		{"gateway: 198.18.1.1", "neighbor: 198.18.1.1, asn: 64601", ""},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, to: [1.2.3.4/32], use: [isp]}]", "1.2.3.4/32 may leave by any path when those of use are dead"},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, to: [1.2.3.4/32], use: [er], otherwise: drop}]", "uses the circuit er"},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {quorum: 2, probes: [{icmp: 192.88.1.1}, {icmp: 192.88.1.2}, {icmp: fd20::1}]}", "quorum 2, and one target by ipv6: it takes no link down"},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\n    track: {probes: [{icmp: fd20::1}]}", ""},
		{"nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: interface}\nsteer: [{name: a, to: [10.20.3.4/32], use: [isp], otherwise: drop}]", "10.20.3.4/32 lies in the site's own networks"},
	}
	for _, row := range rows {
		c, err := parse(strings.Replace(good, row.old, row.new, 1))
		if err != nil {
			t.Errorf("%q: %v", row.new, err)
			continue
		}
		found := ""
		for _, f := range Lint(c) {
			// The one link of the good file's circuit is a finding of every row.
			if !strings.Contains(f.Text, "1 link, the provider gives 2") {
				found += f.Text + "\n"
			}
		}
		if row.want == "" && found != "" || !strings.Contains(found, row.want) {
			t.Errorf("%q: found %q, want %q", row.new, found, row.want)
		}
	}
	both := strings.Replace(good, "gateway: 198.18.1.1}", "neighbor: 198.18.1.1, asn: 64601}\n    announce: [198.51.100.64/28]", 1)
	c, err := parse(both)
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, f := range Lint(c) {
		found += f.String() + "\n"
	}
	if want := "pool 198.51.100.64/28 is announced as 198.51.100.64/28 on path isp too"; !strings.Contains(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &x [*x]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(string(data))
		if err == nil {
			Lint(c)
		}
	})
}
