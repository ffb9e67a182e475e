package nat

import (
	"net/netip"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// forward keeps the site from being a transit, and fits TCP's segments to the links. What comes from inside is no transit,
// and most packets do.
func (b *builder) forward() []kstate.NftChain {
	from := kstate.MatchInterface{Direction: kstate.In, Set: "links"}
	to := kstate.MatchInterface{Direction: kstate.Out, Set: "links"}
	c := kstate.NftChain{Name: "transit", Hook: kstate.Forward, Type: kstate.FilterChain, Priority: priorityMangle, Rules: []kstate.NftRule{
		rule(kstate.MatchProtocol{Protocols: []kstate.L4Protocol{kstate.TCP}}, kstate.MatchSYN{}, kstate.JumpTo("clamp"))}}
	c.Rules = append(c.Rules, b.insideReturns()...)
	c.Rules = append(c.Rules, rule(from, to, kstate.Count{Name: GuardTransit}, kstate.Verdict{Kind: kstate.Drop}))
	return []kstate.NftChain{{Name: "clamp", Rules: []kstate.NftRule{rule(to, kstate.ClampMSS{}), rule(from, kstate.ClampMSS{})}}, c}
}

// martian drops what comes from inside with one of this machine's own addresses as the source, in any state of a connection:
// a host there must not speak as the router. The kernel itself does not look at it on interfaces with accept_local, which is
// set because the kernel's way to look costs a packet more than twice as much where there are policy rules.
func (b *builder) martian() kstate.NftRule {
	return rule(kstate.MatchImpossibleSource{}, kstate.Count{Name: GuardMartian}, kstate.Verdict{Kind: kstate.Drop})
}

// source is the source that a packet leaves with, seen before translation.
type source struct {
	name string // of chains
	of   kstate.AddressOf
	end  kstate.End
}

// sources are where it stands: in the packet, or in the packets of the other direction that come back to it.
var (
	asItIs  = source{"foreign", kstate.OfPacket, kstate.Source}
	request = source{"given", kstate.OfReplies, kstate.Destination}
	reply   = source{"asked", kstate.OfRequests, kstate.Destination}
)

// foreign drops what would leave a link with an address of another path: its source is one that some link gives, and not
// this one. Where the site only observes, it counts it. The first packet of every connection comes by: one look-up does.
func (b *builder) foreign(l Link, s source) []kstate.NftRule {
	var out []kstate.NftRule
	for _, f := range route.Families() {
		if len(b.outside(f)) == 0 {
			continue
		}
		parts := []kstate.Part{kstate.MatchAddress{Of: s.of, End: s.end, Set: outsideSet(f), Family: f}}
		if own := disjoint(b.belongs(l, f), f); len(own) > 0 {
			parts = append(parts, kstate.MatchAddress{Of: s.of, End: s.end, Not: true, Prefixes: own})
		}
		parts = append(parts, kstate.Count{Name: GuardForeign})
		if !b.p.Observe {
			parts = append(parts, kstate.Verdict{Kind: kstate.Drop})
		}
		out = append(out, rule(parts...).WithComment("%s", l.Name))
	}
	return out
}

// untranslated drops what would leave a link with an inside source that translation should have replaced.
func untranslated(l Link, s source) []kstate.NftRule {
	var out []kstate.NftRule
	for _, e := range l.Entries {
		from := kstate.MatchAddress{Of: s.of, End: s.end, Prefixes: []netip.Prefix{e.Network}}
		if e.Kind == None {
			out = append(out, rule(from, kstate.Verdict{Kind: kstate.Return}))
			continue
		}
		out = append(out, rule(from, kstate.Count{Name: GuardLeak}, kstate.Verdict{Kind: kstate.Drop}).WithComment("%s", l.Name))
	}
	return out
}

// leaks drops what would leave a link with an inside source: packets that conntrack calls invalid, or does not track, skip
// translation, the classic way for it to happen. And it drops what would leave with an address of another path: packets of
// a connection whose link is gone, in the moment until the connection is cut. A connection that has this link's mark was
// translated here, or its first packet was stopped.
//
// It stands before translation, so that packets pass one chain less. What they will leave with is known there: translation
// changes the source of a connection's packets where the connection says so, to what its other direction has as the
// destination; only the first packet's is still to be chosen, by this link's own rules, and only where its source has none
// is it foreign.
func (b *builder) leaks(l Link) []kstate.NftChain {
	own := rule(kstate.MatchMark{Of: kstate.ConnMark, Mask: b.p.Mask, Value: b.mark(l.Number)}, kstate.Verdict{Kind: kstate.Return})
	var chains []kstate.NftChain
	for _, s := range []source{request, reply} {
		chains = append(chains, kstate.NftChain{Name: chain(s.name, l), Rules: append(b.foreign(l, s), untranslated(l, s)...)})
	}
	return append(chains, kstate.NftChain{Name: chain("leak", l), Rules: append([]kstate.NftRule{own,
		rule(kstate.MatchFirst{}, kstate.GotoChain(chain(asItIs.name, l))),
		rule(kstate.MatchReply{Original: true}, kstate.MatchTranslated{Source: true}, kstate.GotoChain(chain(request.name, l))),
		rule(kstate.MatchReply{}, kstate.MatchTranslated{}, kstate.GotoChain(chain(reply.name, l))),
		rule(kstate.JumpTo(chain(asItIs.name, l)))}, untranslated(l, asItIs)...)})
}

// outside are the addresses of a family that any link gives to what leaves: pools, prefixes, published and the links' own.
func (b *builder) outside(f route.Family) []netip.Prefix {
	var all []netip.Prefix
	for _, l := range b.p.Links {
		all = append(all, b.belongs(l, f)...)
	}
	return disjoint(all, f)
}

func outsideSet(f route.Family) string { return "outside_" + f.String() }

func (b *builder) belongs(l Link, f route.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, e := range l.Entries {
		if e.To.IsValid() && route.FamilyOf(e.To.Addr()) == f {
			out = append(out, e.To)
		}
	}
	for _, p := range l.Publish {
		if route.FamilyOf(p.Outside) == f {
			out = append(out, netip.PrefixFrom(p.Outside, p.Outside.BitLen()))
		}
	}
	for _, a := range l.Addresses {
		if route.FamilyOf(a) == f {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}
