package nat

import (
	"net/netip"

	"bothways/internal/kstate"
)

// Publish is an inside host that can be reached from outside: as a whole, or on one port.
type Publish struct {
	Outside  netip.Addr
	Inside   netip.Addr
	Protocol kstate.L4Protocol // 0: the whole host
	Port     uint16            // outside
	To       uint16            // inside
	// SourceNAT gives what comes in the edge's own address inside, so that the answer returns here whatever the host's
	// routes say: the provider's second remedy against answers by another way.
	SourceNAT bool
}

// whole reports whether every protocol and port is published.
func (p Publish) whole() bool { return p.Protocol == 0 }

func (p Publish) outside(end kstate.End) []kstate.Part { return p.match(end, p.Outside, p.Port) }
func (p Publish) inside(end kstate.End) []kstate.Part  { return p.match(end, p.Inside, p.To) }

func (p Publish) match(end kstate.End, a netip.Addr, port uint16) []kstate.Part {
	parts := []kstate.Part{kstate.MatchAddress{End: end, Prefixes: []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}}}
	if !p.whole() {
		parts = append(parts, kstate.MatchPort{Protocol: p.Protocol, End: end, Ports: []uint16{port}})
	}
	return parts
}

// publishedIn sends what comes in by a link for a published address to its host. Single ports come before whole hosts.
func publishedIn(l Link) []kstate.NftRule {
	var out []kstate.NftRule
	from := kstate.MatchInterface{Direction: kstate.In, Names: []string{l.Interface}}
	for _, whole := range []bool{false, true} {
		for _, p := range l.Publish {
			if p.whole() != whole {
				continue
			}
			parts := append([]kstate.Part{from}, p.outside(kstate.Destination)...)
			out = append(out, rule(append(parts, kstate.DNAT{To: p.Inside, Port: p.To})...).WithComment("%s", l.Name))
		}
	}
	return out
}

// publishedOut gives a host that is published whole its own outside address for what it opens itself.
func publishedOut(l Link) []kstate.NftRule {
	var out []kstate.NftRule
	for _, p := range l.Publish {
		if p.whole() {
			out = append(out, rule(append(p.inside(kstate.Source), kstate.SNAT{From: p.Outside})...).WithComment("%s", l.Name))
		}
	}
	return out
}

// publishedSource gives connections from outside the edge's address inside, where it is asked for.
func (b *builder) publishedSource() []kstate.NftRule {
	var out []kstate.NftRule
	for _, l := range b.p.Links {
		for _, p := range l.Publish {
			if !p.SourceNAT {
				continue
			}
			parts := []kstate.Part{
				kstate.MatchInterface{Direction: kstate.Out, Set: "inside"},
				kstate.MatchMark{Of: kstate.ConnMark, Mask: b.p.Mask, Value: b.mark(l.Number)}, kstate.MatchTranslated{},
			}
			out = append(out, rule(append(append(parts, p.inside(kstate.Destination)...), kstate.Masquerade{})...).WithComment("%s", l.Name))
		}
	}
	return out
}
