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
	GuardTransit = "guard_transit" // packets from one link to another
	GuardLeak    = "guard_leak"    // packets that would leave a link untranslated
	GuardForeign = "guard_foreign" // packets that would leave a link with an address of another path
	Unmarked     = "unmarked"      // packets of connections that were there before the table, and are left alone
)

// IsGuard reports whether a counter is of packets that were dropped.
func IsGuard(counter string) bool { return strings.HasPrefix(counter, "guard_") }

// bgpPort is BGP's. Its sessions with a link's neighbor are not tracked, so that a full conntrack table takes none down.
const bgpPort = 179

// bfdPort is that of BFD over a single hop (RFC 5881, section 4). Each side sends from a port of its own to this one, so
// that tracking would see two connections that nobody answers. It is not tracked, for the same reason as BGP.
const bfdPort = 3784

// Priorities of our chains, around which a packet filter can stand: marks before filters, translation where nft's
// standard puts it, the guard against leaks behind it.
const (
	priorityRaw    = -300
	priorityMangle = -150
	priorityDNAT   = -100
	prioritySNAT   = 100
	priorityLeak   = 110
)

// Ruleset computes the table.
func Ruleset(p Params) kstate.Ruleset {
	b := &builder{p: p}
	r := kstate.Ruleset{Counters: []string{GuardForeign, GuardLeak, GuardTransit, Unmarked}}
	r.Sets = append(r.Sets,
		kstate.NftSet{Name: "links", Type: kstate.Ifname, Interfaces: b.interfaces()},
		kstate.NftSet{Name: "inside", Type: kstate.Ifname, Interfaces: p.Inside})
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
	r.Chains = append(r.Chains, b.leaks()...)
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

// dispatch sends packets of each link to a chain of the link's own, by one look-up.
func (b *builder) dispatch(d kstate.Direction, prefix string, more ...kstate.VerdictElement) kstate.NftRule {
	v := kstate.VerdictByInterface{Direction: d, Elements: more}
	for _, l := range b.p.Links {
		v.Elements = append(v.Elements, kstate.VerdictElement{Interface: l.Interface, Verdict: kstate.GotoChain(chain(prefix, l))})
	}
	return rule(v)
}

func chain(prefix string, l Link) string { return fmt.Sprintf("%s_%d", prefix, l.Number) }

// untracked leaves BGP with the links' neighbors, and BFD on links that speak it, out of connection tracking. BFD takes
// nothing that came over a router, so who sends it need not be known here. Every packet passes here: one look-up has to do
// for those of no link.
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
		kstate.NftChain{Name: "untracked_in", Hook: kstate.Prerouting, Type: kstate.FilterChain, Priority: priorityRaw, Rules: []kstate.NftRule{b.dispatch(kstate.In, "untracked_in")}},
		kstate.NftChain{Name: "untracked_out", Hook: kstate.Output, Type: kstate.FilterChain, Priority: priorityRaw, Rules: []kstate.NftRule{b.dispatch(kstate.Out, "untracked_out")}})
}

// marks gives each connection the number of its link at its first packet, and packets from inside the mark of their
// connection's link, or of the steer rule that they match. Packets from a link never get it: restored on those, the mark
// would send every reply back out.
func (b *builder) marks() []kstate.NftChain {
	mask := b.p.Mask
	var inside []kstate.VerdictElement
	for _, name := range b.p.Inside {
		inside = append(inside, kstate.VerdictElement{Interface: name, Verdict: kstate.GotoChain("in_inside")})
	}
	base := kstate.NftChain{Name: "mark_in", Hook: kstate.Prerouting, Type: kstate.FilterChain, Priority: priorityMangle,
		Rules: []kstate.NftRule{b.dispatch(kstate.In, "in", inside...)}}
	in := kstate.NftChain{Name: "in_inside"}
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
		Rules: []kstate.NftRule{b.dispatch(kstate.Out, "out")}}
	// A chain must exist before a rule names it, so those that are jumped to come first.
	chains := append(b.asymmetryChains(), b.relatedChains()...)
	for _, l := range b.p.Links {
		m := b.mark(l.Number)
		set := kstate.SetMark{Of: kstate.ConnMark, Mask: mask, Value: m}
		fresh := kstate.MatchState{States: kstate.StateNew}
		// Most packets belong to a connection of the link that they are on: they are done with first.
		own := rule(kstate.MatchMark{Of: kstate.ConnMark, Mask: mask, Value: m}, kstate.Verdict{Kind: kstate.Return})
		chains = append(chains, b.astray(l), b.foreign(l),
			kstate.NftChain{Name: chain("in", l), Rules: append(append(append([]kstate.NftRule{own}, b.asymmetry(l)...), b.related(l)...),
				rule(fresh, kstate.MatchMark{Of: kstate.ConnMark, Mask: mask}, set).WithComment("%s", l.Name),
				rule(fresh, kstate.GotoChain(chain("astray", l))))},
			kstate.NftChain{Name: chain("claim", l), Rules: []kstate.NftRule{rule(set).WithComment("%s", l.Name)}},
			kstate.NftChain{Name: chain("fresh", l), Rules: append(b.unclaimed(l), rule(fresh, kstate.JumpTo(chain("foreign", l))),
				rule(fresh, kstate.GotoChain(chain("claim", l))), rule(kstate.Count{Name: Unmarked}))},
			kstate.NftChain{Name: chain("strayed", l), Rules: b.strayed(l)})
		spoken := b.vpnChain(l)
		chains = append(append(chains, spoken...),
			kstate.NftChain{Name: chain("out", l), Rules: append(append(b.vpn(l), own), b.claims(l)...)},
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
	if len(v.Elements) == 0 {
		return nil
	}
	return []kstate.NftRule{rule(v)}
}

// claims gives a connection that is opened from inside the mark of the link that it leaves by, and one of a
// link that translates alike, whose address goes on being right. Any other keeps its mark: its address belongs to that
// link, and by the mark it is found and cut.
func (b *builder) claims(l Link) []kstate.NftRule {
	rules := []kstate.NftRule{rule(kstate.MatchReply{}, kstate.GotoChain(chain("strayed", l)))}
	for _, f := range route.Families() {
		v := kstate.VerdictByMark{Of: kstate.ConnMark, Mask: b.p.Mask}
		v.Elements = append(v.Elements, kstate.VerdictElement{Verdict: kstate.GotoChain(chain("fresh", l))})
		same := SamePool(b.p.Links, l.Number, f)
		for _, o := range b.p.Links {
			if o.Number != l.Number && same.Has(o.Number) {
				v.Elements = append(v.Elements, kstate.VerdictElement{Mark: b.mark(o.Number), Verdict: kstate.GotoChain(chain("claim", l))})
			}
		}
		rules = append(rules, rule(kstate.MatchFamily{Family: f}, v))
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

// forward keeps the site from being a transit, and fits TCP's segments to the links.
func (b *builder) forward() []kstate.NftChain {
	from := kstate.MatchInterface{Direction: kstate.In, Set: "links"}
	to := kstate.MatchInterface{Direction: kstate.Out, Set: "links"}
	return []kstate.NftChain{
		{Name: "clamp", Rules: []kstate.NftRule{rule(to, kstate.ClampMSS{}), rule(from, kstate.ClampMSS{})}},
		{Name: "transit", Hook: kstate.Forward, Type: kstate.FilterChain, Priority: priorityMangle, Rules: []kstate.NftRule{
			rule(from, to, kstate.Count{Name: GuardTransit}, kstate.Verdict{Kind: kstate.Drop}),
			rule(kstate.MatchProtocol{Protocols: []kstate.L4Protocol{kstate.TCP}}, kstate.MatchSYN{}, kstate.GotoChain("clamp"))}},
	}
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
		Rules: append([]kstate.NftRule{b.dispatch(kstate.Out, "nat")}, b.publishedSource()...)})
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

// foreign drops what would leave a link with an address of another path: its source is one that some link gives, and not
// this one. Where the site only observes, it counts it.
func (b *builder) foreign(l Link) kstate.NftChain {
	c := kstate.NftChain{Name: chain("foreign", l)}
	for _, f := range route.Families() {
		if len(b.outside(f)) == 0 {
			continue
		}
		if own := disjoint(b.belongs(l, f), f); len(own) > 0 {
			c.Rules = append(c.Rules, rule(kstate.MatchAddress{End: kstate.Source, Prefixes: own}, kstate.Verdict{Kind: kstate.Return}).WithComment("%s", l.Name))
		}
		parts := []kstate.Part{kstate.MatchAddress{End: kstate.Source, Set: outsideSet(f), Family: f}, kstate.Count{Name: GuardForeign}}
		if !b.p.Observe {
			parts = append(parts, kstate.Verdict{Kind: kstate.Drop})
		}
		c.Rules = append(c.Rules, rule(parts...).WithComment("%s", l.Name))
	}
	return c
}

// leaks drops what would leave a link with an inside source that translation should have replaced: packets that
// conntrack calls invalid skip translation, the classic way for it to happen. And it drops what would leave with an
// address of another path: packets of a connection whose link is gone, in the moment until the connection is cut. A
// connection that has this link's mark was translated here, or its first packet was stopped.
func (b *builder) leaks() []kstate.NftChain {
	var chains []kstate.NftChain
	for _, l := range b.p.Links {
		c := kstate.NftChain{Name: chain("leak", l), Rules: []kstate.NftRule{
			rule(kstate.MatchMark{Of: kstate.ConnMark, Mask: b.p.Mask, Value: b.mark(l.Number)}, kstate.Verdict{Kind: kstate.Return}),
			rule(kstate.JumpTo(chain("foreign", l)))}}
		for _, e := range l.Entries {
			from := kstate.MatchAddress{End: kstate.Source, Prefixes: []netip.Prefix{e.Network}}
			if e.Kind == None {
				c.Rules = append(c.Rules, rule(from, kstate.Verdict{Kind: kstate.Return}))
				continue
			}
			c.Rules = append(c.Rules, rule(from, kstate.Count{Name: GuardLeak}, kstate.Verdict{Kind: kstate.Drop}).WithComment("%s", l.Name))
		}
		chains = append(chains, c)
	}
	return append(chains, kstate.NftChain{Name: "leak", Hook: kstate.Postrouting, Type: kstate.FilterChain, Priority: priorityLeak,
		Rules: []kstate.NftRule{b.dispatch(kstate.Out, "leak")}})
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
