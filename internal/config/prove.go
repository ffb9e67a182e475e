package config

import (
	"time"

	"go.yaml.in/yaml/v3"

	"bothways/internal/proof"
)

// Prove is how the ways back of a path's links are proven.
type Prove struct {
	// Targets are those who are asked; none: those of the path's probes, else who answers connections.
	Targets []proof.Target
	Every   time.Duration // for each address
	Timeout time.Duration
	// Addresses is how many of each pool are proven.
	Addresses int
}

// defaultProve is asked for where the file says nothing.
func defaultProve() *Prove { return &Prove{Every: time.Minute, Timeout: time.Second, Addresses: 8} }

func prove(v value) *Prove {
	p := defaultProve()
	if v.n.Kind == yaml.ScalarNode {
		if !v.bool() {
			return nil
		}
		return p
	}
	v.fields("false, or how the way back is proven", map[string]func(value){
		"targets": func(v value) {
			for _, x := range v.list() {
				before := len(p.Targets)
				if t, ok := proofTarget(probe(x)); ok {
					p.Targets = append(p.Targets, t)
				} else if before == len(p.Targets) {
					x.fail("want {icmp: ADDRESS} or {tcp: \"ADDRESS:PORT\"}")
				}
			}
		},
		"every":     func(v value) { p.Every = v.duration(time.Second, 24*time.Hour) },
		"timeout":   func(v value) { p.Timeout = v.duration(10*time.Millisecond, 10*time.Second) },
		"addresses": func(v value) { p.Addresses = int(v.number(1, 64, "a count of addresses")) },
	})
	return p
}

// proofTarget is a probe's target as one of proofs; false for kinds that those have not.
func proofTarget(x Probe) (proof.Target, bool) {
	switch x.Kind {
	case "icmp":
		return proof.Target{Protocol: proof.ICMP, Address: x.Address}, x.Address.IsValid()
	case "tcp":
		return proof.Target{Protocol: proof.TCP, Address: x.Address, Port: x.Port}, x.Address.IsValid()
	}
	return proof.Target{}, false
}

// ProveTargets are those that the file says to ask by the path's links.
func (p *Path) ProveTargets() []proof.Target {
	if p.Prove == nil {
		return nil
	}
	if len(p.Prove.Targets) > 0 || p.Track == nil {
		return p.Prove.Targets
	}
	var out []proof.Target
	for _, x := range p.Track.Probes {
		if t, ok := proofTarget(x); ok {
			out = append(out, t)
		}
	}
	return out
}
