package metrics

import (
	v1 "bothways/internal/api/v1"
	"bothways/internal/engine"
	"bothways/internal/route"
)

var (
	sessionUp        = gauge("session_up", "1 if the BGP session is established.", "link", "family")
	sessionSince     = gauge("session_changed_timestamp_seconds", "When the state of the session changed last: its uptime is what has passed since, if it is up.", "link", "family")
	sessionTimes     = counter("session_established_total", "How often the session was established.", "link", "family")
	sessionUpdates   = counter("session_updates_total", "UPDATE messages of the session, by direction (in, out).", "link", "family", "direction")
	sessionAnnounced = gauge("session_announced_prefixes", "Prefixes that the neighbor was told.", "link", "family")

	received = gauge("routes_received", "Prefixes that the neighbor announced and has not withdrawn, those that wait to be decided included.", "link", "family")
	accepted = gauge("routes_accepted", "Of these, those that may be used.", "link", "family")
	rejected = gauge("routes_rejected", "Of these, those that the import rules refused.", "link", "family")
	staged   = gauge("routes_staged", "Of these, those that wait for the rest of their table.", "link", "family")
	stale    = gauge("routes_stale", "Of these, those that were said before the session's restart or refresh, and not again yet.", "link", "family")
	held     = gauge("routes_held", "Prefixes that the neighbor took back all at once, and that are used on (hold-last-good).", "link", "family")
	limit    = gauge("prefix_limit", "How many prefixes the neighbor may announce (max-prefixes).", "link", "family")
	level    = gauge("prefix_limit_level", "How near to that it is: 0 fine, 1 near, 2 exceeded.", "link", "family")

	ribPrefixes = gauge("rib_prefixes", "Prefixes of the routing table, with those that only have rejected routes.", "family")
	rankings    = gauge("rankings", "Rankings that kernel routes use, by what they come to: living, drained (only drained links live), no_target (no link lives, the first tier is used), dropped, no_way.", "family", "outcome")
)

func routeMetrics() []metric {
	return []metric{sessionUp, sessionSince, sessionTimes, sessionUpdates, sessionAnnounced,
		received, accepted, rejected, staged, stale, held, limit, level, ribPrefixes, rankings}
}

func (o out) routes(s *engine.Snapshot) {
	for _, l := range s.Links {
		if !l.BGP {
			continue
		}
		for _, f := range l.Families {
			at := []string{l.Name, f.Family.String()}
			n := f.Counts
			o.count(received, n.Received, at...)
			o.count(accepted, n.Accepted, at...)
			o.count(rejected, max(0, n.Received-n.Staged-n.Accepted), at...)
			o.count(staged, n.Staged, at...)
			o.count(stale, n.Stale, at...)
			o.count(held, f.Held, at...)
			o.count(limit, f.Limit, at...)
			o.count(level, int(f.Level), at...)
		}
	}
	type key struct{ family, outcome string }
	n := map[key]int{}
	for _, r := range s.Rankings {
		n[key{r.Family.String(), r.Outcome.String()}]++
	}
	for i, f := range route.Families() {
		o.count(ribPrefixes, s.Prefixes[i], f.String())
	}
	for k, count := range n {
		o.count(rankings, count, k.family, word(k.outcome))
	}
}

// established is the word of the sessions' state.
const established = "Established"

func (o out) sessions(all []v1.Session) {
	for _, s := range all {
		o.flag(sessionUp, s.State == established, s.Link, s.Family)
		o.at(sessionSince, s.Since, s.Link, s.Family)
		o.count(sessionTimes, s.Established, s.Link, s.Family)
		o.put(sessionUpdates, float64(s.UpdatesIn), s.Link, s.Family, "in")
		o.put(sessionUpdates, float64(s.UpdatesOut), s.Link, s.Family, "out")
		o.count(sessionAnnounced, s.Announced, s.Link, s.Family)
	}
}
