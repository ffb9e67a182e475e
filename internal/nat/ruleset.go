package nat

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// Params are what the table depends on.
type Params struct {
	Mask     uint32 // the byte of the mark that is ours
	Links    []Link
	Inside   []string       // interfaces
	Networks []netip.Prefix // inside
	Steer    []Steer        // in the order of the file: the first that matches counts
	// Observe counts what is asymmetric, and holds nothing to the link of its connection.
	Observe bool
}

// Link is a link as the table sees it.
type Link struct {
	Number    route.Link
	Name      string // expressroute/primary
	Interface string
	Entries   []Entry // longest network first
	Publish   []Publish
	Neighbors []netip.Addr // with whom BGP is spoken
	Addresses []netip.Addr // the link's own, as far as they are known
	Proofs    []Proof
	// Reply is the mark of packets that answer what came in by the link, where that is another than the link's own.
	Reply   uint32
	Loose   bool // connections that were opened from inside do not stick to it
	BFD     bool // spoken on the link
	Circuit bool // of a circuit, by which no VPN of the provider is to be reached
}

// Path is the name of the link's path.
func (l Link) Path() string {
	path, _, _ := strings.Cut(l.Name, "/")
	return path
}

// Names of what others read in the table.
const (
	NumbersMap   = "link_numbers"  // interface to link number, read back on a restart
	InsideSet    = "inside"        // interfaces, read back on a restart
	GuardTransit = "guard_transit" // packets from one link to another
	GuardLeak    = "guard_leak"    // packets that would leave a link untranslated
	GuardForeign = "guard_foreign" // packets that would leave a link with an address of another path
	GuardMartian = "guard_martian" // packets from inside with an address of this machine as their source
	Unmarked     = "unmarked"      // packets of connections that were there before the table, and are left alone
)

// IsGuard reports whether a counter is of packets that were dropped.
func IsGuard(counter string) bool { return strings.HasPrefix(counter, guardPrefix) }

// GuardOf is the guard's name in that of its counter.
func GuardOf(counter string) (name string, ok bool) { return strings.CutPrefix(counter, guardPrefix) }

const guardPrefix = "guard_"

// bgpPort is BGP's. Its sessions with a link's neighbor are not tracked, so that a full conntrack table takes none down.
const bgpPort = 179

// bfdPort is that of BFD over a single hop (RFC 5881, section 4). Each side sends from a port of its own to this one, so
// that tracking would see two connections that nobody answers. It is not tracked, for the same reason as BGP.
const bfdPort = 3784

// Priorities of our chains, around which a packet filter can stand: marks and guards before filters, translation where nft's
// standard puts it.
const (
	priorityRaw    = -300
	priorityMangle = -150
	priorityDNAT   = -100
	prioritySNAT   = 100
)

// Ruleset computes the table.
func Ruleset(p Params) kstate.Ruleset {
	b := &builder{p: p}
	r := kstate.Ruleset{Counters: []string{GuardForeign, GuardLeak, GuardMartian, GuardTransit, Unmarked}}
	r.Sets = append(r.Sets,
		kstate.NftSet{Name: "links", Type: kstate.Ifname, Interfaces: b.interfaces()},
		kstate.NftSet{Name: InsideSet, Type: kstate.Ifname, Interfaces: p.Inside})
	for _, f := range route.Families() {
		if all := b.outside(f); len(all) > 0 {
			typ := kstate.IPv4Addr
			if f == route.IPv6 {
				typ = kstate.IPv6Addr
			}
			r.Sets = append(r.Sets, kstate.NftSet{Name: outsideSet(f), Type: typ, Prefixes: all})
		}
	}
	r.Sets = append(r.Sets, b.steerSets()...)
	counters, seen := b.asymmetrySets()
	counters = append(counters, b.relatedCounters()...)
	speaking, gateways := b.vpnSets()
	counters, seen = append(counters, speaking...), append(seen, gateways...)
	r.Counters, r.Sets = append(r.Counters, counters...), append(append(r.Sets, b.outsideSets()...), seen...)
	r.Maps = append(r.Maps, b.numbers())
	r.Chains = append(r.Chains, b.untracked()...)
	r.Chains = append(r.Chains, b.marks()...)
	r.Chains = append(r.Chains, b.forward()...)
	r.Chains = append(r.Chains, b.limits()...)
	r.Chains = append(r.Chains, b.translation()...)
	return r
}

type builder struct{ p Params }

func (b *builder) interfaces() []string {
	var out []string
	for _, l := range b.p.Links {
		out = append(out, l.Interface)
	}
	return out
}

func (b *builder) mark(l route.Link) uint32 { return uint32(l) * (b.p.Mask & -b.p.Mask) }

func (b *builder) numbers() kstate.NftMap {
	m := kstate.NftMap{Name: NumbersMap, Type: kstate.Ifname}
	for _, l := range b.p.Links {
		m.Marks = append(m.Marks, kstate.MarkElement{Interface: l.Interface, Mark: uint32(l.Number)})
	}
	return m
}

func rule(parts ...kstate.Part) kstate.NftRule { return kstate.NewRule(parts...) }

// few is up to how many interfaces, or marks, a packet is compared with one by one: a look-up in a map costs it as much as
// about four comparisons.
const few = 4

// dispatch sends packets of each link to a chain of the link's own, behind those of first.
func (b *builder) dispatch(d kstate.Direction, prefix string, first ...kstate.VerdictElement) []kstate.NftRule {
	var links []kstate.VerdictElement
	for _, l := range b.p.Links {
		links = append(links, kstate.VerdictElement{Interface: l.Interface, Verdict: kstate.GotoChain(chain(prefix, l))})
	}
	if len(first) > few && len(links) > few {
		return byInterface(d, append(first, links...))
	}
	return append(byInterface(d, first), byInterface(d, links)...)
}

func byInterface(d kstate.Direction, elements []kstate.VerdictElement) []kstate.NftRule {
	if len(elements) > few {
		return []kstate.NftRule{rule(kstate.VerdictByInterface{Direction: d, Elements: elements})}
	}
	var out []kstate.NftRule
	for _, e := range elements {
		out = append(out, rule(kstate.MatchInterface{Direction: d, Names: []string{e.Interface}}, e.Verdict))
	}
	return out
}

// insideTo are the inside interfaces with a verdict.
func (b *builder) insideTo(v kstate.Verdict) []kstate.VerdictElement {
	var out []kstate.VerdictElement
	for _, name := range b.p.Inside {
		out = append(out, kstate.VerdictElement{Interface: name, Verdict: v})
	}
	return out
}

// insideReturns ends a chain for packets from inside, where that costs less than the rest.
func (b *builder) insideReturns() []kstate.NftRule {
	if len(b.p.Inside) > few {
		return nil
	}
	return byInterface(kstate.In, b.insideTo(kstate.Verdict{Kind: kstate.Return}))
}

func chain(prefix string, l Link) string { return fmt.Sprintf("%s_%d", prefix, l.Number) }

// untracked leaves BGP with the links' neighbors, and BFD on links that speak it, out of connection tracking. BFD takes
// nothing that came over a router, so who sends it need not be known here. Every packet passes here: those from inside are
// done with first.
func (b *builder) untracked() []kstate.NftChain {
	var chains []kstate.NftChain
	for _, d := range []struct {
		name string
		far  kstate.End
	}{{"untracked_in", kstate.Source}, {"untracked_out", kstate.Destination}} {
		for _, l := range b.p.Links {
			c := kstate.NftChain{Name: chain(d.name, l)}
			if l.BFD {
				c.Rules = append(c.Rules, rule(kstate.MatchPort{Protocol: kstate.UDP, End: kstate.Destination, Ports: []uint16{bfdPort}}, kstate.NoTrack{}))
			}
			for _, n := range l.Neighbors {
				host := kstate.MatchAddress{End: d.far, Prefixes: []netip.Prefix{netip.PrefixFrom(n.WithZone(""), n.BitLen())}}
				for _, end := range []kstate.End{kstate.Source, kstate.Destination} {
					c.Rules = append(c.Rules, rule(host, kstate.MatchPort{Protocol: kstate.TCP, End: end, Ports: []uint16{bgpPort}}, kstate.NoTrack{}))
				}
			}
			chains = append(chains, c)
		}
	}
	return append(chains,
		kstate.NftChain{Name: "untracked_in", Hook: kstate.Prerouting, Type: kstate.FilterChain, Priority: priorityRaw, Rules: append(b.insideReturns(), b.dispatch(kstate.In, "untracked_in")...)},
		kstate.NftChain{Name: "untracked_out", Hook: kstate.Output, Type: kstate.FilterChain, Priority: priorityRaw, Rules: b.dispatch(kstate.Out, "untracked_out")})
}

// marks gives each connection the number of its link at its first packet, and packets from inside the mark of their
// connection's link, or of the steer rule that they match. Packets from a link never get it: restored on those, the mark
// would send every reply back out.
func (b *builder) marks() []kstate.NftChain {
	mask := b.p.Mask
	base := kstate.NftChain{Name: "mark_in", Hook: kstate.Prerouting, Type: kstate.FilterChain, Priority: priorityMangle,
		Rules: b.dispatch(kstate.In, "in", b.insideTo(kstate.GotoChain("in_inside"))...)}
	in := kstate.NftChain{Name: "in_inside", Rules: []kstate.NftRule{b.martian()}}
	if steer := b.steer(); len(steer) > 0 {
		// What answers a connection from outside goes the way that it came, whatever a rule says.
		in.Rules = append(in.Rules, b.answer()...)
		in.Rules = append(in.Rules, steer...)
	}
	if len(b.steer()) == 0 && b.answersApart() {
		in.Rules = append(in.Rules, b.answer()...)
	}
	in.Rules = append(in.Rules, b.restore()...)
	local := kstate.NftChain{Name: "mark_local", Hook: kstate.Output, Type: kstate.RouteChain, Priority: priorityMangle,
		Rules: b.answer()}
	out := kstate.NftChain{Name: "mark_out", Hook: kstate.Postrouting, Type: kstate.FilterChain, Priority: priorityMangle,
		Rules: b.dispatch(kstate.Out, "out")}
	// A chain must exist before a rule names it, so those that are jumped to come first.
	chains := append(b.asymmetryChains(), b.relatedChains()...)
	for _, l := range b.p.Links {
		m := b.mark(l.Number)
		set := kstate.SetMark{Of: kstate.ConnMark, Mask: mask, Value: m}
		fresh := kstate.MatchState{States: kstate.StateNew}
		// Most packets belong to a connection of the link that they are on: they are done with first.
		own := rule(kstate.MatchMark{Of: kstate.ConnMark, Mask: mask, Value: m}, kstate.Verdict{Kind: kstate.Return})
		chains = append(chains, b.astray(l), kstate.NftChain{Name: chain(asItIs.name, l), Rules: b.foreign(l, asItIs)},
			kstate.NftChain{Name: chain("in", l), Rules: append(append(append([]kstate.NftRule{own}, b.asymmetry(l)...), b.related(l, kstate.MatchState{States: kstate.StateRelated}, kstate.MatchReply{})...),
				rule(fresh, kstate.MatchMark{Of: kstate.ConnMark, Mask: mask}, set).WithComment("%s", l.Name),
				rule(fresh, kstate.GotoChain(chain("astray", l))))},
			// A connection is claimed with its first packet or never: of one that nobody answers conntrack calls every packet new,
			// also where the first was let through before this table was there, and stays as it was for good.
			kstate.NftChain{Name: chain("claim", l), Rules: []kstate.NftRule{rule(set).WithComment("%s", l.Name)}},
			kstate.NftChain{Name: chain("fresh", l), Rules: append(b.unclaimed(l), rule(kstate.MatchFirst{}, kstate.JumpTo(chain("foreign", l))),
				rule(kstate.MatchFirst{}, kstate.GotoChain(chain("claim", l))), rule(kstate.Count{Name: Unmarked}))},
			kstate.NftChain{Name: chain("strayed", l), Rules: b.strayed(l)})
		chains = append(append(chains, b.vpnChain(l)...), b.leaks(l)...)
		chains = append(chains,
			kstate.NftChain{Name: chain("sent", l), Rules: b.claims(l)},
			kstate.NftChain{Name: chain("out", l), Rules: append(b.vpn(l), own, rule(kstate.JumpTo(chain("sent", l))), rule(kstate.GotoChain(chain("leak", l))))},
			kstate.NftChain{Name: chain("restore", l), Rules: []kstate.NftRule{
				rule(kstate.SetMark{Of: kstate.PacketMark, Mask: mask, Value: m}).WithComment("%s", l.Name)}})
		if l.Reply != 0 {
			chains = append(chains, kstate.NftChain{Name: chain("reply", l), Rules: []kstate.NftRule{
				rule(kstate.SetMark{Of: kstate.PacketMark, Mask: mask, Value: l.Reply}).WithComment("%s", l.Name)}})
		}
	}
	chains = append(chains, b.steerChains()...)
	return append(chains, in, base, local, out)
}

// answer gives packets that answer a connection from outside the mark that leads back by the link it came by.
func (b *builder) answer() []kstate.NftRule {
	if b.p.Observe {
		return nil
	}
	v := kstate.VerdictByMark{Of: kstate.ConnMark, Mask: b.p.Mask}
	for _, l := range b.p.Links {
		to := chain("restore", l)
		if l.Reply != 0 {
			to = chain("reply", l)
		}
		v.Elements = append(v.Elements, kstate.VerdictElement{Mark: b.mark(l.Number), Verdict: kstate.GotoChain(to)})
	}
	return []kstate.NftRule{rule(kstate.MatchReply{}, v)}
}

// answersApart reports whether replies go another way than what keeps to its link.
func (b *builder) answersApart() bool {
	return slices.ContainsFunc(b.p.Links, func(l Link) bool { return l.Reply != 0 || l.Loose })
}

// restore gives packets the mark of their connection's link; where that is only observed it is no rule.
func (b *builder) restore() []kstate.NftRule {
	if b.p.Observe {
		return nil
	}
	v := kstate.VerdictByMark{Of: kstate.ConnMark, Mask: b.p.Mask}
	for _, l := range b.p.Links {
		if !l.Loose {
			v.Elements = append(v.Elements, kstate.VerdictElement{Mark: b.mark(l.Number), Verdict: kstate.GotoChain(chain("restore", l))})
		}
	}
	if len(v.Elements) > few {
		return []kstate.NftRule{rule(v)}
	}
	var out []kstate.NftRule
	for _, e := range v.Elements {
		out = append(out, rule(kstate.MatchMark{Of: v.Of, Mask: v.Mask, Value: e.Mark}, e.Verdict))
	}
	return out
}

// claims gives a connection that is opened from inside the mark of the link that it leaves by, and one of a
// link that translates alike, whose address goes on being right. Any other keeps its mark: its address belongs to that
// link, and by the mark it is found and cut.
func (b *builder) claims(l Link) []kstate.NftRule {
	rules := []kstate.NftRule{rule(kstate.MatchReply{}, kstate.GotoChain(chain("strayed", l))),
		rule(kstate.MatchMark{Of: kstate.ConnMark, Mask: b.p.Mask}, kstate.GotoChain(chain("fresh", l)))}
	for _, f := range route.Families() {
		v := kstate.VerdictByMark{Of: kstate.ConnMark, Mask: b.p.Mask}
		same := SamePool(b.p.Links, l.Number, f)
		for _, o := range b.p.Links {
			if o.Number != l.Number && same.Has(o.Number) {
				v.Elements = append(v.Elements, kstate.VerdictElement{Mark: b.mark(o.Number), Verdict: kstate.GotoChain(chain("claim", l))})
			}
		}
		if len(v.Elements) > 0 {
			rules = append(rules, rule(kstate.MatchFamily{Family: f}, v))
		}
	}
	return rules
}

// SamePool returns the links that give every inside network of a family the same addresses as link l does, l included.
func SamePool(links []Link, l route.Link, f route.Family) route.LinkSet {
	set := route.NewLinkSet(l)
	of := func(x Link) (entries []Entry, shared bool) {
		for _, e := range x.Entries {
			if route.FamilyOf(e.Network.Addr()) == f {
				entries = append(entries, e)
				if e.Kind == Interface {
					return nil, false
				}
			}
		}
		return entries, true
	}
	for _, x := range links {
		if x.Number != l {
			continue
		}
		mine, ok := of(x)
		for _, o := range links {
			if theirs, also := of(o); ok && also && slices.Equal(mine, theirs) && slices.Equal(x.Publish, o.Publish) {
				set.Add(o.Number)
			}
		}
	}
	return set
}

// translation gives inside sources the addresses of the path that they leave by.
func (b *builder) translation() []kstate.NftChain {
	var chains []kstate.NftChain
	back := kstate.NftChain{Name: "dstnat", Hook: kstate.Prerouting, Type: kstate.NATChain, Priority: priorityDNAT}
	for _, l := range b.p.Links {
		chains = append(chains, proofChain(l)...)
		c := kstate.NftChain{Name: chain("nat", l), Rules: append(b.proven(l), publishedOut(l)...)}
		back.Rules = append(back.Rules, publishedIn(l)...)
		for _, e := range l.Entries {
			from := kstate.MatchAddress{End: kstate.Source, Prefixes: []netip.Prefix{e.Network}}
			c.Rules = append(c.Rules, rule(from, translate(e)).WithComment("%s", l.Name))
			if e.Kind == Prefix {
				back.Rules = append(back.Rules, rule(
					kstate.MatchInterface{Direction: kstate.In, Names: []string{l.Interface}},
					kstate.MatchAddress{End: kstate.Destination, Prefixes: []netip.Prefix{e.To}},
					kstate.DNATPrefix{To: e.Network}).WithComment("%s", l.Name))
			}
		}
		chains = append(chains, c)
	}
	if len(back.Rules) > 0 {
		chains = append(chains, back)
	}
	return append(chains, kstate.NftChain{Name: "srcnat", Hook: kstate.Postrouting, Type: kstate.NATChain, Priority: prioritySNAT,
		Rules: append(b.dispatch(kstate.Out, "nat"), b.publishedSource()...)})
}

func translate(e Entry) kstate.Part {
	switch e.Kind {
	case Interface:
		return kstate.Masquerade{Persistent: true}
	case Pool:
		return kstate.SNAT{From: e.To.Addr(), To: kstate.LastAddr(e.To), Persistent: true}
	case Prefix:
		return kstate.SNATPrefix{To: e.To}
	}
	return kstate.Verdict{Kind: kstate.Return}
}
