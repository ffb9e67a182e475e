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

// AsymmetryName is the counter of replies on path reply to connections of path connection. The path names hold no slash.
func AsymmetryName(connection, reply string) string { return "asymmetry/" + connection + "/" + reply }

// ParseAsymmetry is the reverse of AsymmetryName.
func ParseAsymmetry(name string) (connection, reply string, ok bool) {
	rest, ok := strings.CutPrefix(name, "asymmetry/")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// AsymmetrySet is the set of the remote addresses of such replies in a family.
func AsymmetrySet(connection, reply string, f route.Family) string {
	return AsymmetryName(connection, reply) + "/" + f.String()
}

// pathPairs are the pairs of different paths, in order.
func (b *builder) pathPairs() [][2]string {
	var names []string
	for _, l := range b.p.Links {
		if len(names) == 0 || names[len(names)-1] != l.Path() {
			names = append(names, l.Path())
		}
	}
	if len(names) > maxAsymmetryPaths {
		return nil
	}
	var out [][2]string
	for _, x := range names {
		for _, y := range names {
			if x != y {
				out = append(out, [2]string{x, y})
			}
		}
	}
	return out
}

// asymmetrySets and asymmetryChains count, and keep for a while, what comes back by another path. A provider may answer on
// the circuit's other link: only paths are compared. ICMP errors are related packets, and no replies.
func (b *builder) asymmetrySets() (counters []string, sets []kstate.NftSet) {
	for _, p := range b.pathPairs() {
		counters = append(counters, AsymmetryName(p[0], p[1]))
		for _, f := range route.Families() {
			typ := kstate.IPv4Addr
			if f == route.IPv6 {
				typ = kstate.IPv6Addr
			}
			sets = append(sets, kstate.NftSet{Name: AsymmetrySet(p[0], p[1], f), Type: typ, Dynamic: true, Timeout: asymmetryTimeout, Size: asymmetrySize})
		}
	}
	return counters, sets
}

func (b *builder) asymmetryChains() []kstate.NftChain {
	var out []kstate.NftChain
	for _, p := range b.pathPairs() {
		c := kstate.NftChain{Name: AsymmetryName(p[0], p[1])}
		c.Rules = append(c.Rules, rule(kstate.Count{Name: c.Name}))
		for _, f := range route.Families() {
			c.Rules = append(c.Rules, rule(kstate.MatchFamily{Family: f}, kstate.AddToSet{Set: AsymmetrySet(p[0], p[1], f), Family: f, End: kstate.Source}))
		}
		out = append(out, c)
	}
	return out
}

// asymmetry sends replies that came by link l, to connections of another path, to the chain of the two paths.
func (b *builder) asymmetry(l Link) []kstate.NftRule {
	if len(b.pathPairs()) == 0 {
		return nil
	}
	v := kstate.VerdictByMark{Of: kstate.ConnMark, Mask: b.p.Mask}
	for _, o := range b.p.Links {
		if o.Path() != l.Path() {
			v.Elements = append(v.Elements, kstate.VerdictElement{Mark: b.mark(o.Number), Verdict: kstate.GotoChain(AsymmetryName(o.Path(), l.Path()))})
		}
	}
	if len(v.Elements) == 0 {
		return nil
	}
	return []kstate.NftRule{rule(kstate.MatchState{States: kstate.StateEstablished}, kstate.MatchReply{}, v)}
}
