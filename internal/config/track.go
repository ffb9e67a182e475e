package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"bothways/internal/provider"
	"bothways/internal/route"
	"bothways/internal/track"
)

// BFD is how BFD is spoken on a link.
type BFD struct {
	Interval   time.Duration
	Multiplier uint8
}

// Track is how the links of a path are probed.
type Track struct {
	Probes  []Probe
	Every   time.Duration
	Timeout time.Duration
	Params  track.ProbeParams
	line    int
}

// Probe is a target.
type Probe struct {
	Kind    string // icmp, tcp, http, dns, arp
	Address netip.Addr
	Port    uint16
	URL     string
}

// String names the target, each differently.
func (p Probe) String() string {
	switch {
	case p.Kind == "http":
		return "http " + p.URL
	case p.Port != 0:
		return p.Kind + " " + netip.AddrPortFrom(p.Address, p.Port).String()
	}
	return p.Kind + " " + p.Address.String()
}

// Targets are the probes of a family.
func (t *Track) Targets(f route.Family) []Probe {
	var out []Probe
	if t != nil {
		for _, p := range t.Probes {
			if route.FamilyOf(p.Address) == f {
				out = append(out, p)
			}
		}
	}
	return out
}

// bfd reads true, false, or an interval with a multiplier.
func bfd(v value, pr provider.Profile) *BFD {
	b := &BFD{pr.BFDInterval, pr.BFDMultiplier}
	if v.n.Kind == yaml.ScalarNode {
		if !v.bool() {
			return nil
		}
		return b
	}
	v.fields("true, or an interval with a multiplier", map[string]func(value){
		"interval":   func(v value) { b.Interval = v.duration(10*time.Millisecond, 10*time.Second) },
		"multiplier": func(v value) { b.Multiplier = uint8(v.number(1, 50, "a multiplier")) },
	})
	return b
}

func (p *parser) track(v value) *Track {
	t := &Track{line: v.n.Line, Every: time.Second, Params: track.ProbeParams{
		DownAfter: 3, UpAfter: 5, UpDelay: 10 * time.Second, FlapWindow: 5 * time.Minute, MaxUpDelay: 10 * time.Minute}}
	const long = time.Hour
	quorum := 0
	v.fields("probes and how they are judged", map[string]func(value){
		"probes": func(v value) {
			for _, x := range v.list() {
				t.Probes = append(t.Probes, probe(x))
			}
		},
		"quorum":       func(v value) { quorum = int(v.number(1, 100, "a count of targets")) },
		"every":        func(v value) { t.Every = v.duration(20*time.Millisecond, long) },
		"timeout":      func(v value) { t.Timeout = v.duration(10*time.Millisecond, long) },
		"down-after":   func(v value) { t.Params.DownAfter = int(v.number(1, 1000, "a count")) },
		"up-after":     func(v value) { t.Params.UpAfter = int(v.number(1, 1000, "a count")) },
		"up-delay":     func(v value) { t.Params.UpDelay = v.duration(0, long) },
		"flap-window":  func(v value) { t.Params.FlapWindow = v.duration(0, 24*long) },
		"max-up-delay": func(v value) { t.Params.MaxUpDelay = v.duration(0, 24*long) },
		"window":       func(v value) { t.Params.Window = int(v.number(2, 1000, "a count of results")) },
		"max-loss":     func(v value) { t.Params.MaxLoss = int(v.number(1, 99, "percent")) },
		"max-latency":  func(v value) { t.Params.MaxLatency = v.duration(time.Millisecond, long) },
	})
	if t.Timeout == 0 {
		t.Timeout = min(t.Every, time.Second)
	}
	t.Params.Quorum = quorum
	switch {
	case len(t.Probes) == 0:
		v.fail("want the key \"probes\" with at least one target, found none")
	case quorum > len(t.Probes):
		v.fail("quorum: want at most the %d targets, found %d", len(t.Probes), quorum)
	case t.Timeout > t.Every:
		v.fail("timeout: want at most every (%s), found %s", t.Every, t.Timeout)
	case (t.Params.MaxLoss > 0 || t.Params.MaxLatency > 0) && t.Params.Window == 0:
		v.fail("max-loss and max-latency need the key \"window\"")
	}
	seen := map[string]bool{}
	for _, x := range t.Probes {
		if seen[x.String()] {
			v.fail("probes: %s stands twice", x)
		}
		seen[x.String()] = true
	}
	return t
}

func probe(v value) Probe {
	fields := v.mapping("a probe such as {icmp: 198.18.53.1}")
	if len(fields) != 1 {
		v.fail("want one kind with its target, such as {icmp: 198.18.53.1}, found %d keys", len(fields))
		return Probe{}
	}
	f := fields[0]
	p := Probe{Kind: f.key}
	text, ok := f.scalar("a target")
	if !ok {
		return p
	}
	var err error
	want := "an address of a host"
	switch f.key {
	case "icmp", "dns":
		p.Address, err = netip.ParseAddr(text)
	case "arp":
		want = "an IPv4 address of a host"
		if p.Address, err = netip.ParseAddr(text); err == nil && !p.Address.Is4() {
			p.Address = netip.Addr{}
		}
	case "tcp":
		want = "ADDRESS:PORT"
		var ap netip.AddrPort
		if ap, err = netip.ParseAddrPort(text); err == nil && ap.Port() != 0 {
			p.Address, p.Port = ap.Addr(), ap.Port()
		}
	case "http":
		want = "a URL with http or https and an address as its host"
		p.URL = text
		p.Address, p.Port, err = web(text)
	default:
		v.fail("want icmp, tcp, http, dns or arp, found %q", f.key)
		return p
	}
	if err != nil || !host(p.Address) {
		f.fail("want %s, found %q", want, text)
	}
	return p
}

// host reports whether an address can be one machine's. What cannot must not get as far as the probes: they are set up all
// or none.
func host(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// web reads where a URL leads; the port is 0 where it does not say one.
func web(text string) (a netip.Addr, port uint16, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return a, 0, err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return a, 0, fmt.Errorf("scheme %q", u.Scheme)
	}
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			return a, 0, fmt.Errorf("port %q", u.Port())
		}
		port = uint16(n)
	}
	a, err = netip.ParseAddr(u.Hostname())
	return a, port, err
}
