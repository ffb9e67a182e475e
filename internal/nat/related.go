package nat

import (
	"strings"

	"bothways/internal/flow"
	"bothways/internal/kstate"
)

// RelatedName is the counter of ICMP errors on path reply, in either direction, about connections of path connection. They are no
// replies, and no asymmetry: a router that cannot go on stands anywhere.
func RelatedName(connection, reply string) string { return "related/" + connection + "/" + reply }

// ParseRelated is the reverse of RelatedName.
func ParseRelated(name string) (connection, reply string, ok bool) {
	rest, ok := strings.CutPrefix(name, "related/")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// relatedCounters and relatedChains count errors for each two different paths.
func (b *builder) relatedCounters() []string {
	var out []string
	for _, c := range b.crossings() {
		if c.Kind == flow.ReplyIn {
			out = append(out, RelatedName(c.Connection, c.By))
		}
	}
	return out
}

func (b *builder) relatedChains() []kstate.NftChain {
	var out []kstate.NftChain
	for _, name := range b.relatedCounters() {
		out = append(out, kstate.NftChain{Name: name, Rules: []kstate.NftRule{rule(kstate.Count{Name: name})}})
	}
	return out
}

// related sends errors on link l, about connections of another path, to the chain of the two paths.
func (b *builder) related(l Link, of ...kstate.Part) []kstate.NftRule {
	if len(b.crossings()) == 0 {
		return nil
	}
	v := kstate.VerdictByMark{Of: kstate.ConnMark, Mask: b.p.Mask}
	for _, o := range b.p.Links {
		if o.Path() != l.Path() {
			v.Elements = append(v.Elements, kstate.VerdictElement{Mark: b.mark(o.Number), Verdict: kstate.GotoChain(RelatedName(o.Path(), l.Path()))})
		}
	}
	if len(v.Elements) == 0 {
		return nil
	}
	return []kstate.NftRule{rule(append(of, v)...)}
}
