package session

import (
	"maps"
	"net/netip"
	"slices"

	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// ribOut is the Adj-RIB-Out: what the neighbor should know and what it was told.
type ribOut struct {
	want, sent map[route.Family]map[netip.Prefix]route.Announcement
	changed    bool
	waiting    bool                  // for the first set, before which nothing is known to be wrong
	holdEnd    bool                  // keep End-of-RIB back
	end        map[route.Family]bool // End-of-RIB is due
	refresh    map[route.Family]bool // the neighbor asked for all again
	again      map[route.Family]bool // it is not known what it has heard of what it was told
}

func newRIBOut(holdEnd bool) ribOut {
	return ribOut{want: map[route.Family]map[netip.Prefix]route.Announcement{}, holdEnd: holdEnd}
}

// set replaces what the neighbor should know of a family.
func (r *ribOut) set(f route.Family, list []route.Announcement) {
	want := make(map[netip.Prefix]route.Announcement, len(list))
	for _, a := range list {
		a.Prefix = a.Prefix.Masked()
		want[a.Prefix] = a
	}
	r.want[f], r.changed, r.waiting = want, true, false
}

// begin forgets what an earlier session was told.
func (r *ribOut) begin(families []route.Family) {
	r.sent = map[route.Family]map[netip.Prefix]route.Announcement{}
	r.end, r.refresh, r.again = map[route.Family]bool{}, map[route.Family]bool{}, map[route.Family]bool{}
	for _, f := range families {
		r.sent[f], r.end[f] = map[netip.Prefix]route.Announcement{}, true
	}
	r.changed = true
}

// resume takes over what another process told.
func (r *ribOut) resume(h *Handover, families []route.Family) {
	r.begin(families)
	clear(r.end)
	for _, f := range families {
		for _, a := range h.Announced[f] {
			r.sent[f][a.Prefix] = a
		}
	}
	for _, f := range h.EndOfRIB {
		r.end[f] = true
	}
	for _, f := range h.Refresh {
		r.refresh[f] = true
	}
	for _, f := range h.Again {
		r.again[f] = true
	}
	r.waiting = len(r.want) == 0
}

// announced lists what the neighbor knows of a family.
func (r *ribOut) announced(f route.Family) []route.Announcement {
	out := slices.Collect(maps.Values(r.sent[f]))
	slices.SortFunc(out, func(a, b route.Announcement) int { return route.ComparePrefix(a.Prefix, b.Prefix) })
	return out
}

// all lists what the neighbor knows of every family.
func (r *ribOut) all() map[route.Family][]route.Announcement {
	if !r.changed || r.waiting {
		return nil // nothing is about to change
	}
	out := map[route.Family][]route.Announcement{}
	for f := range r.sent {
		out[f] = r.announced(f)
	}
	return out
}

// told counts the prefixes that the neighbor knows.
func (r *ribOut) told() int {
	n := 0
	for _, m := range r.sent {
		n += len(m)
	}
	return n
}

// pending appends the messages that bring the neighbor up to date, and takes it that they are sent; n counts the prefixes in
// them. The errors are of announcements that cannot be sent at all.
func (r *ribOut) pending(dst []byte, e *message.Encoder, enhanced bool) (out []byte, n int, errs []error) {
	if !r.changed || r.waiting {
		return dst, 0, nil
	}
	r.changed = false
	for _, f := range e.Families {
		sent, want := r.sent[f], r.want[f]
		// RFC 7313, section 4.2: not before the End-of-RIB, until which the neighbor may keep what is not said yet.
		marked := r.refresh[f] && enhanced && !r.end[f]
		if marked {
			dst = (&message.RouteRefresh{Family: f, Subtype: message.RefreshBegin}).AppendTo(dst)
		}
		// Also before all is said again: a neighbor without RFC 7313 takes away what is taken back and nothing else.
		var gone []netip.Prefix
		for p := range sent {
			if _, ok := want[p]; !ok {
				gone = append(gone, p)
				delete(sent, p)
			}
		}
		slices.SortFunc(gone, route.ComparePrefix)
		dst = e.Withdraw(dst, f, gone)
		if r.refresh[f] || r.again[f] {
			clear(sent)
		}

		var come []route.Announcement
		for _, p := range slices.SortedFunc(maps.Keys(want), route.ComparePrefix) {
			if old, ok := sent[p]; !ok || !sameAnnouncement(old, want[p]) {
				come = append(come, want[p])
				sent[p] = want[p]
			}
		}
		var err error
		if dst, err = e.Announce(dst, f, come); err != nil {
			errs = append(errs, err)
			come = nil
		}
		n += len(gone) + len(come)
		if marked {
			dst = (&message.RouteRefresh{Family: f, Subtype: message.RefreshEnd}).AppendTo(dst)
		}
		delete(r.refresh, f)
		delete(r.again, f)
		if r.end[f] && !r.holdEnd {
			dst = e.EndOfRIB(dst, f)
			delete(r.end, f)
		}
	}
	return dst, n, errs
}

func sameAnnouncement(a, b route.Announcement) bool {
	return a.Prepend == b.Prepend && slices.Equal(a.Communities, b.Communities) && slices.Equal(a.Large, b.Large)
}
