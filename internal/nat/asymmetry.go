package nat

import (
	"strings"
	"time"

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

// Crossing names replies that take another path than their connection's. The names of paths hold no slash.
type Crossing struct {
	Connection, Reply string // paths
	// Out: the connection was opened from outside, and the site's own replies leave by the other path.
	Out bool
}

const (
	crossingIn  = "asymmetry/"
	crossingOut = "asymmetry_out/"
)

// Counter is the name of the counter of such replies.
func (c Crossing) Counter() string {
	if c.Out {
		return crossingOut + c.Connection + "/" + c.Reply
	}
	return crossingIn + c.Connection + "/" + c.Reply
}

// ParseCrossing is the reverse of Counter.
func ParseCrossing(name string) (c Crossing, ok bool) {
	rest, ok := strings.CutPrefix(name, crossingIn)
	if !ok {
		if rest, ok = strings.CutPrefix(name, crossingOut); !ok {
			return c, false
		}
		c.Out = true
	}
	c.Connection, c.Reply, ok = strings.Cut(rest, "/")
	return c, ok
}

// Set is the set of the remote addresses of such replies in a family.
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
				out = append(out, Crossing{x, y, false}, Crossing{x, y, true})
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
		if x.Out {
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
	v, ok := b.byPath(l, false)
	if !ok {
		return nil
	}
	return []kstate.NftRule{rule(kstate.MatchState{States: kstate.StateEstablished}, kstate.MatchReply{}, v)}
}

// strayed sends replies that leave by link l, to connections that came by another path, to the chain of the two paths. Their
// way is not changed here: where it could be right, the mark made it so.
func (b *builder) strayed(l Link) []kstate.NftRule {
	v, ok := b.byPath(l, true)
	if !ok {
		return nil
	}
	return []kstate.NftRule{rule(v)}
}

// byPath leads from the mark of a connection of another path to the chain of the two paths.
func (b *builder) byPath(l Link, out bool) (v kstate.VerdictByMark, ok bool) {
	if len(b.crossings()) == 0 {
		return v, false
	}
	v = kstate.VerdictByMark{Of: kstate.ConnMark, Mask: b.p.Mask}
	for _, o := range b.p.Links {
		if o.Path() != l.Path() {
			v.Elements = append(v.Elements, kstate.VerdictElement{Mark: b.mark(o.Number), Verdict: kstate.GotoChain(Crossing{o.Path(), l.Path(), out}.Counter())})
		}
	}
	return v, len(v.Elements) > 0
}
