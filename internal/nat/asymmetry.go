package nat

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/route"
)

// What is kept of replies that came by another path than their connection's.
const (
	asymmetryTimeout = 10 * time.Minute
	asymmetrySize    = 1024 // remote addresses for each pair of paths and family
	// maxAsymmetryPaths bounds the pairs. A site with more paths has none of this.
	maxAsymmetryPaths = 16
)

// Crossing names packets that take another path than their connection's. The names of paths hold no slash.
type Crossing struct {
	Connection string // the path of the connection, or that of the address which is asked for
	By         string // the path that the packets take
	Kind       flow.CrossingKind
}

// Counter is the name of the counter of such packets.
func (c Crossing) Counter() string { return string(c.Kind) + "/" + c.Connection + "/" + c.By }

// ParseCrossing is the reverse of Counter.
func ParseCrossing(name string) (c Crossing, ok bool) {
	kind, rest, _ := strings.Cut(name, "/")
	c.Kind = flow.CrossingKind(kind)
	if !slices.Contains(flow.CrossingKinds(), c.Kind) {
		return c, false
	}
	c.Connection, c.By, ok = strings.Cut(rest, "/")
	return c, ok
}

// Set is the set of the remote addresses of such packets in a family.
func (c Crossing) Set(f route.Family) string { return c.Counter() + "/" + f.String() }

// crossings are those of each two different paths, in order.
func (b *builder) crossings() []Crossing {
	var names []string
	for _, l := range b.p.Links {
		if len(names) == 0 || names[len(names)-1] != l.Path() {
			names = append(names, l.Path())
		}
	}
	if len(names) > maxAsymmetryPaths {
		return nil
	}
	var out []Crossing
	for _, x := range names {
		for _, y := range names {
			if x != y {
				for _, kind := range flow.CrossingKinds() {
					out = append(out, Crossing{x, y, kind})
				}
			}
		}
	}
	return out
}

// asymmetrySets and asymmetryChains count, and keep for a while, what comes back by another path. A provider may answer on
// the circuit's other link: only paths are compared. ICMP errors are related packets, and no replies.
func (b *builder) asymmetrySets() (counters []string, sets []kstate.NftSet) {
	for _, c := range b.crossings() {
		counters = append(counters, c.Counter())
		for _, f := range route.Families() {
			typ := kstate.IPv4Addr
			if f == route.IPv6 {
				typ = kstate.IPv6Addr
			}
			sets = append(sets, kstate.NftSet{Name: c.Set(f), Type: typ, Dynamic: true, Timeout: asymmetryTimeout, Size: asymmetrySize})
		}
	}
	return counters, sets
}

func (b *builder) asymmetryChains() []kstate.NftChain {
	var out []kstate.NftChain
	for _, x := range b.crossings() {
		c := kstate.NftChain{Name: x.Counter()}
		c.Rules = append(c.Rules, rule(kstate.Count{Name: c.Name}))
		remote := kstate.Source
		if x.Kind == flow.ReplyOut {
			remote = kstate.Destination
		}
		for _, f := range route.Families() {
			c.Rules = append(c.Rules, rule(kstate.MatchFamily{Family: f}, kstate.AddToSet{Set: x.Set(f), Family: f, End: remote}))
		}
		out = append(out, c)
	}
	return out
}

// asymmetry sends replies that came by link l, to connections of another path, to the chain of the two paths.
func (b *builder) asymmetry(l Link) []kstate.NftRule {
	v, ok := b.byPath(l, flow.ReplyIn)
	if !ok {
		return nil
	}
	return []kstate.NftRule{rule(kstate.MatchState{States: kstate.StateEstablished}, kstate.MatchReply{}, v)}
}

// strayed sends replies that leave by link l, to connections that came by another path, to the chain of the two paths; errors, which
// are no replies, to theirs. Their way is not changed here: where it could be right, the mark made it so.
func (b *builder) strayed(l Link) []kstate.NftRule {
	v, ok := b.byPath(l, flow.ReplyOut)
	if !ok {
		return nil
	}
	return append(b.related(l, kstate.MatchState{States: kstate.StateRelated}), rule(v))
}

// byPath leads from the mark of a connection of another path to the chain of the two paths.
func (b *builder) byPath(l Link, kind flow.CrossingKind) (v kstate.VerdictByMark, ok bool) {
	if len(b.crossings()) == 0 {
		return v, false
	}
	v = kstate.VerdictByMark{Of: kstate.ConnMark, Mask: b.p.Mask}
	for _, o := range b.p.Links {
		if o.Path() != l.Path() {
			v.Elements = append(v.Elements, kstate.VerdictElement{Mark: b.mark(o.Number), Verdict: kstate.GotoChain(Crossing{o.Path(), l.Path(), kind}.Counter())})
		}
	}
	return v, len(v.Elements) > 0
}

// outsideOf are the addresses of a family that a path gives to connections or publishes.
func (b *builder) outsideOf(path string, f route.Family) []netip.Prefix {
	var all []netip.Prefix
	for _, l := range b.p.Links {
		if l.Path() == path {
			all = append(all, b.belongs(l, f)...)
		}
	}
	return disjoint(all, f)
}

func outsideOfSet(path string, f route.Family) string { return "outside/" + path + "/" + f.String() }

// outsideSets are the addresses of each path, for what is asked of the wrong one.
func (b *builder) outsideSets() []kstate.NftSet {
	var out []kstate.NftSet
	last := ""
	for _, c := range b.crossings() {
		if c.Connection == last {
			continue
		}
		last = c.Connection
		for _, f := range route.Families() {
			typ := kstate.IPv4Addr
			if f == route.IPv6 {
				typ = kstate.IPv6Addr
			}
			if list := b.outsideOf(last, f); len(list) > 0 {
				out = append(out, kstate.NftSet{Name: outsideOfSet(last, f), Type: typ, Prefixes: list})
			}
		}
	}
	return out
}

// astray counts what is opened from outside by link l towards an address of another path: whoever asks finds the way to it
// here, and this path does not serve it.
func (b *builder) astray(l Link) kstate.NftChain {
	c := kstate.NftChain{Name: chain("astray", l)}
	for _, f := range route.Families() {
		if own := b.outsideOf(l.Path(), f); len(own) > 0 && len(b.crossings()) > 0 {
			c.Rules = append(c.Rules, rule(kstate.MatchAddress{End: kstate.Destination, Set: outsideOfSet(l.Path(), f), Family: f}, kstate.Verdict{Kind: kstate.Return}))
		}
	}
	for _, x := range b.crossings() {
		if x.Kind != flow.Request || x.By != l.Path() {
			continue
		}
		for _, f := range route.Families() {
			if len(b.outsideOf(x.Connection, f)) > 0 {
				c.Rules = append(c.Rules, rule(kstate.MatchAddress{End: kstate.Destination, Set: outsideOfSet(x.Connection, f), Family: f}, kstate.GotoChain(x.Counter())))
			}
		}
	}
	return c
}
