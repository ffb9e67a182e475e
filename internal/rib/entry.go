package rib

import (
	"iter"
	"net/netip"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// Entry is a route as it is shown.
type Entry struct {
	Prefix netip.Prefix
	Link   route.Link
	Attrs  *route.Attrs
	Static bool
	Stale  bool
	Reason policy.Reason
	// Preference is the local preference that the decision uses.
	Preference uint32
	// Decided is the step that put the entry behind the one before it; 0 for the best and for rejected ones.
	Decided Step
	// Tier is the entry's place in the ranking of its prefix; -1 for rejected ones.
	Tier int
}

// Entries lists the routes for exactly this prefix, in the order of the decision, rejected ones last.
func (t *Table) Entries(p netip.Prefix) []Entry {
	slot, ok := t.index.get(keyOf(p))
	if !ok {
		return nil
	}
	return t.entries(slot)
}

func (t *Table) entries(slot uint32) []Entry {
	cs := t.candidates(slot)
	var out []Entry
	tier := -1
	for i := range cs {
		var step Step
		if i > 0 {
			_, step = Compare(&cs[i-1], &cs[i])
		}
		if i == 0 || step <= Tier {
			tier++
		}
		out = append(out, Entry{Link: cs[i].Link, Attrs: cs[i].Attrs, Static: cs[i].Static, Decided: step, Tier: tier,
			Preference: cs[i].preference()})
	}
	for i := t.index.dests.at(slot).routes; i != 0; {
		e := t.routes.at(i)
		i = e.next
		if e.reason != policy.Accepted {
			out = append(out, Entry{Link: e.link, Attrs: t.sets[e.set].attrs, Reason: e.reason, Tier: -1})
		}
		for j := range out {
			if out[j].Link == e.link {
				out[j].Stale = e.gen != t.counts[e.link].gen
			}
		}
	}
	for j := range out {
		out[j].Prefix = t.index.prefix(slot)
	}
	return out
}

// After walks the prefixes behind one in order (all, where it is invalid), each with its routes. What is skipped costs
// little, and so do prefixes of whose routes none is wanted.
func (t *Table) After(after netip.Prefix, wanted func(l route.Link, rejected bool) bool) iter.Seq2[netip.Prefix, []Entry] {
	return func(yield func(netip.Prefix, []Entry) bool) {
		at := position{0, -1}
		if after.IsValid() {
			at, _, _ = t.index.find(keyOf(after))
		}
		for slot := range t.index.from(at) {
			if t.any(slot, wanted) && !yield(t.index.prefix(slot), t.entries(slot)) {
				return
			}
		}
	}
}

func (t *Table) any(slot uint32, wanted func(l route.Link, rejected bool) bool) bool {
	for i := t.index.dests.at(slot).routes; i != 0; i = t.routes.at(i).next {
		if e := t.routes.at(i); wanted(e.link, e.reason != policy.Accepted) {
			return true
		}
	}
	return false
}

// States walks the prefixes in order, each with its state as of the last Commit.
func (t *Table) States() iter.Seq2[netip.Prefix, State] {
	return func(yield func(netip.Prefix, State) bool) {
		for slot := range t.index.all() {
			if !yield(t.index.prefix(slot), t.index.dests.at(slot).state()) {
				return
			}
		}
	}
}

// State is what the last Commit decided for exactly this prefix; zero where the table does not have it.
func (t *Table) State(p netip.Prefix) State {
	slot, ok := t.index.get(keyOf(p))
	if !ok {
		return State{}
	}
	return t.index.dests.at(slot).state()
}

// Lookup returns the ranking for a destination, a single address or a prefix, by longest match, and the prefix that
// matched. Without a match it is the empty ranking and ok is false.
func (t *Table) Lookup(dst netip.Prefix) (p netip.Prefix, id RankingID, ok bool) {
	slot, ok := t.index.match(keyOf(dst.Masked()))
	if !ok {
		return netip.Prefix{}, 0, false
	}
	return t.index.prefix(slot), t.index.dests.at(slot).ranking, true
}

// Covering lists the prefixes that cover p, and p itself where it is in the table, the longest first.
func (t *Table) Covering(p netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	slot, _ := t.index.match(keyOf(p.Masked()))
	for ; slot != 0; slot = t.index.parent(slot) {
		out = append(out, t.index.prefix(slot))
	}
	return out
}

// Accepted lists the prefixes for which one of the links has a usable route that is not stale, in order.
func (t *Table) Accepted(links route.LinkSet) []netip.Prefix {
	var out []netip.Prefix
	for slot := range t.index.all() {
		for i := t.index.dests.at(slot).routes; i != 0; {
			e := t.routes.at(i)
			i = e.next
			if links.Has(e.link) && e.reason == policy.Accepted && e.gen == t.counts[e.link].gen {
				out = append(out, t.index.prefix(slot))
				break
			}
		}
	}
	return out
}
