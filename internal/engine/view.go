package engine

import (
	"net/netip"

	"bothways/internal/flow"
	"bothways/internal/nat"
	"bothways/internal/policy"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// View answers questions on the owner's goroutine. It must not be kept.
type View struct{ e *Engine }

// RouteView is a route as it is shown.
type RouteView struct {
	Prefix netip.Prefix
	Link   string
	rib.Entry
}

// Answer says what a destination is sent by now.
func (v *View) Answer(dst netip.Prefix) AnswerView { return v.e.answer(dst) }

// Match is the longest prefix of the table that covers an address; the default where none does.
func (v *View) Match(a netip.Addr) netip.Prefix {
	f := route.FamilyOf(a)
	p, _, ok := v.e.tables[at(f)].table.Lookup(netip.PrefixFrom(a, a.BitLen()))
	if !ok {
		return f.Default()
	}
	return p
}

// Explain names the likely case of replies that take another path than their connections to these addresses.
func (v *View) Explain(c nat.Crossing, remotes []netip.Addr) flow.Asymmetry {
	return v.e.explain(c, remotes...)
}

// RouteFilter says which routes are wanted.
type RouteFilter struct {
	// Prefix: only this one and, where Covering, those that cover it; invalid: all.
	Prefix   netip.Prefix
	Rejected bool // only rejected ones; otherwise only usable ones
	Link     string
	After    netip.Prefix // begin behind this one
	Limit    int
}

// HasLink reports whether the configuration names a link.
func (v *View) HasLink(name string) bool { return v.e.linkNamed(name) != nil }

// Routes lists routes in order, at most filter.Limit, and says whether there are more.
func (v *View) Routes(f route.Family, filter RouteFilter) (out []RouteView, more bool) {
	table := v.e.tables[at(f)].table
	add := func(entries []rib.Entry) bool {
		for _, en := range entries {
			name := v.e.names([]route.Link{en.Link})[0]
			if (en.Reason != policy.Accepted) != filter.Rejected || filter.Link != "" && filter.Link != name {
				continue
			}
			if len(out) == filter.Limit {
				more = true
				return false
			}
			out = append(out, RouteView{en.Prefix, name, en})
		}
		return true
	}
	if filter.Prefix.IsValid() {
		for _, p := range table.Covering(filter.Prefix) {
			if !add(table.Entries(p)) {
				break
			}
		}
		return out, more
	}
	only := route.Link(0)
	if l := v.e.linkNamed(filter.Link); l != nil {
		only = l.number
	}
	wanted := func(l route.Link, rejected bool) bool {
		return rejected == filter.Rejected && (filter.Link == "" || l == only)
	}
	for _, entries := range table.After(filter.After, wanted) {
		if !add(entries) {
			break
		}
	}
	return out, more
}
