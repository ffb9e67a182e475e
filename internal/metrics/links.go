package metrics

import (
	"strconv"

	"bothways/internal/engine"
	"bothways/internal/track"
)

var (
	pathLinks   = gauge("path_links", "Links of the path.", "path")
	pathUsable  = gauge("path_usable_links", "Links of the path that may carry traffic of some family: every track of theirs that applies is up. Drained ones count.", "path")
	linkInfo    = gauge("link_info", "Always 1. What a link is: to join its path, interface and provider to other metrics.", "link", "path", "interface", "provider", "circuit")
	linkUsable  = gauge("link_usable", "1 if the link may carry traffic of the family: every track of it that applies is up; 0 if it is dead.", "link", "family")
	linkDrained = gauge("link_drained", "1 if an operator prefers every other link to this one.", "link")
	trackUp     = gauge("track_up", "1 if this evidence lets the link be used, 0 if it fails. Missing while nothing is known. Carriers have no family.", "link", "family", "track")
	trackSince  = gauge("track_changed_timestamp_seconds", "When the track went up or down last.", "link", "family", "track")
	probeUp     = gauge("probe_up", "1 if the probe's target is good. The link is down only when the quorum is not met.", "link", "family", "target")
	probeRTT    = gauge("probe_rtt_seconds", "Round trip of the target's last answer, published once a second.", "link", "family", "target")
	probeLoss   = gauge("probe_loss_ratio", "Share of the target's last window of probes that was not answered; 0 before the window is full.", "link", "family", "target")
	proofs      = gauge("proofs", "Addresses that the link gives to connections, by what is known of the way back to them.", "link", "verdict")
)

func linkMetrics() []metric {
	return []metric{pathLinks, pathUsable, linkInfo, linkUsable, linkDrained, trackUp, trackSince, probeUp, probeRTT, probeLoss, proofs}
}

func (o out) links(s *engine.Snapshot) {
	paths := map[string]engine.PathView{}
	usable := map[string]int{}
	for _, p := range s.Paths {
		paths[p.Name] = p
	}
	for _, l := range s.Links {
		p := paths[l.Path]
		o.put(linkInfo, 1, l.Name, l.Path, l.Interface, p.Provider, strconv.FormatBool(p.Circuit))
		o.flag(linkDrained, l.Drained, l.Name)
		o.track(l.Name, "", track.Carrier, l.Carrier)
		some := false
		for _, f := range l.Families {
			o.linkFamily(l.Name, f)
			some = some || f.Usable
		}
		if some {
			usable[l.Path]++
		}
	}
	for _, p := range s.Paths {
		o.count(pathLinks, len(p.Links), p.Name)
		o.count(pathUsable, usable[p.Name], p.Name)
	}
	o.proofs(s)
}

func (o out) linkFamily(link string, f engine.LinkFamilyView) {
	family := f.Family.String()
	o.flag(linkUsable, f.Usable, link, family)
	if f.Neighbor.IsValid() {
		o.track(link, family, track.Neighbor, f.Track)
	}
	if f.HasBFD {
		o.track(link, family, track.BFD, f.BFD)
	}
	targets := f.Probes.Targets()
	if len(targets) > 0 {
		o.track(link, family, track.Probe, f.Probes.State)
	}
	shown := map[string]bool{}
	for _, t := range targets {
		if !t.Seen || shown[t.Name] { // what stands twice in the file is one
			continue
		}
		shown[t.Name] = true
		o.flag(probeUp, t.Up(), link, family, t.Name)
		o.put(probeLoss, float64(t.Loss)/100, link, family, t.Name)
		if t.RTT > 0 {
			o.put(probeRTT, t.RTT.Seconds(), link, family, t.Name)
		}
	}
}

func (o out) track(link, family string, kind track.Kind, s track.State) {
	if s.Seen {
		o.flag(trackUp, s.Up(), link, family, string(kind))
		o.at(trackSince, s.Since, link, family, string(kind))
	}
}

func (o out) proofs(s *engine.Snapshot) {
	type key struct{ link, verdict string }
	n := map[key]int{}
	var order []key
	for _, p := range s.Proofs {
		k := key{p.Link, word(p.Verdict.String())}
		if n[k]++; n[k] == 1 {
			order = append(order, k)
		}
	}
	for _, k := range order {
		o.count(proofs, n[k], k.link, k.verdict)
	}
}
