package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/engine"
	"bothways/internal/nat"
	"bothways/internal/policy"
	"bothways/internal/rib"
	"bothways/internal/track"
)

func (s server) status(r *http.Request) (any, error) {
	snap, k := s.Engine.Snapshot(), s.Kernel()
	out := v1.Status{Site: snap.Site, At: time.Now(), Mode: snap.Mode.String(), Waiting: snap.Waiting}
	out.Prefixes.IPv4, out.Prefixes.IPv6 = snap.Prefixes[0], snap.Prefixes[1]
	out.Kernel = v1.Kernel{
		Mode: k.Mode.String(), Agrees: k.Agrees, Compared: k.Compared, Routes: k.Routes, Pending: k.Pending,
		Nexthops: k.Nexthops, Rules: k.Rules, Repaired: k.Repaired, Refused: k.Refused, LastError: k.LastError,
		Behind: snap.Sequence - min(k.Sequence, snap.Sequence), Sysctls: []v1.Sysctl{},
	}
	counters, err := s.Counters(r.Context())
	if err != nil {
		return nil, err
	}
	out.Connections = v1.Connections{Unmarked: counters[nat.Unmarked].Packets, Count: snap.Flows.Count, Limit: snap.Flows.Limit, State: snap.Flows.Level.String()}
	out.Findings = []v1.Finding{}
	for _, f := range snap.Findings {
		out.Findings = append(out.Findings, v1.Finding{Severity: string(f.Severity), Subject: f.Subject, Text: f.Text, Reason: f.Reason})
	}
	for _, c := range k.Sysctls {
		out.Kernel.Sysctls = append(out.Kernel.Sysctls, v1.Sysctl{Key: c.Key, Value: c.Value, State: c.State})
	}
	return out, nil
}

func (s server) paths(*http.Request) (any, error) {
	snap := s.Engine.Snapshot()
	out := []v1.Path{}
	for _, p := range snap.Paths {
		v := v1.Path{Name: p.Name, Provider: p.Provider, Peering: p.Peering, Capacity: p.Capacity, Links: p.Links,
			Announce: texts(p.Announce), Prepend: p.Prepend}
		up, all := 0, 0
		for _, l := range snap.Links {
			if l.Path != p.Name {
				continue
			}
			all++
			usable := false
			for _, f := range l.Families {
				usable = usable || f.Usable
				v.Accepted += f.Counts.Accepted
			}
			if usable {
				up++
			}
		}
		v.State = map[bool]string{true: "up", false: "degraded"}[up == all]
		if up == 0 {
			v.State = "down"
		}
		out = append(out, v)
	}
	return out, nil
}

func texts(list []netip.Prefix) []string {
	out := []string{}
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}

func (s server) links(*http.Request) (any, error) {
	out := []v1.Link{}
	for _, l := range s.Engine.Snapshot().Links {
		if len(l.Families) == 0 {
			out = append(out, v1.Link{Name: l.Name, Path: l.Path, Number: int(l.Number), Interface: l.Interface, State: "down",
				Carrier: l.Carrier.String(), Reachable: "no gateway", BGP: "none", Since: l.Carrier.Since})
		}
		for _, f := range l.Families {
			v := v1.Link{
				Name: l.Name, Path: l.Path, Number: int(l.Number), Interface: l.Interface, Family: f.Family.String(),
				Neighbor: neighborText(f), State: "down", Carrier: l.Carrier.String(), Reachable: f.Track.String(),
				BGP: bgpWord(l, f), Received: f.Counts.Received, Accepted: f.Counts.Accepted, Stale: f.Counts.Stale,
				Since: later(l.Carrier, f.Track), Staying: f.Astray.Staying, Stranded: f.Astray.Stranded,
			}
			if f.Address.IsValid() {
				v.Address = f.Address.String()
			}
			switch {
			case f.Usable && l.Drained:
				v.State = "drained"
			case f.Usable:
				v.State = "up"
			}
			out = append(out, v)
		}
	}
	return out, nil
}

// neighborText is the neighbor's address; a point-to-point interface needs none.
func neighborText(f engine.LinkFamilyView) string {
	if !f.Neighbor.IsValid() {
		return "point to point"
	}
	return f.Neighbor.String()
}

func later(a, b track.State) time.Time {
	if b.Since.After(a.Since) {
		return b.Since
	}
	return a.Since
}

func bgpWord(l engine.LinkView, f engine.LinkFamilyView) string {
	switch {
	case !l.BGP:
		return "none"
	case f.Up:
		return "established"
	case f.Stale:
		return "stale"
	}
	return "down"
}

func (s server) sessions(*http.Request) (any, error) {
	out := s.Sessions()
	for _, l := range s.Engine.Snapshot().Links {
		for _, f := range l.Families {
			for i := range out {
				if out[i].Link == l.Name && out[i].Family == f.Family.String() {
					out[i].Received, out[i].Accepted, out[i].Held = f.Counts.Received, f.Counts.Accepted, f.Held
				}
			}
		}
	}
	return out, nil
}

func (s server) rankings(*http.Request) (any, error) {
	snap := s.Engine.Snapshot()
	out := v1.Rankings{Rankings: []v1.Ranking{}, Steer: []v1.Steer{}}
	for _, r := range snap.Rankings {
		out.Rankings = append(out.Rankings, v1.Ranking{Family: r.Family.String(), Group: uint32(r.Group), Tiers: r.Tiers, Weights: r.Weights,
			Drop: r.Drop, Routes: r.Routes, Outcome: r.Outcome.String(), Using: r.Using})
	}
	for _, st := range snap.Steer {
		out.Steer = append(out.Steer, v1.Steer{Rule: st.Name, From: texts(st.From), To: st.To, Answer: viewAnswer(st.AnswerView)})
	}
	return out, nil
}

func viewAnswer(a engine.AnswerView) v1.Answer {
	out := v1.Answer{Steer: a.Steer, Tiers: a.Tiers, Weights: a.Weights, Outcome: a.Outcome.String(), Using: a.Using}
	if a.Match.IsValid() {
		out.Match = a.Match.String()
	}
	if out.Tiers == nil {
		out.Tiers = [][]string{}
	}
	return out
}

func viewRoute(r engine.RouteView) v1.Route {
	v := v1.Route{Prefix: r.Prefix.String(), Link: r.Link, Tier: r.Tier + 1, Preference: r.Preference, Static: r.Static, Stale: r.Stale,
		Communities: []string{}}
	if !r.Static {
		v.Path, v.Origin, v.MED = r.Attrs.Path.String(), r.Attrs.Origin.String(), r.Attrs.MED
		v.NextHop = r.Attrs.NextHop.String()
	}
	for _, c := range r.Attrs.Communities {
		v.Communities = append(v.Communities, c.String())
	}
	for _, c := range r.Attrs.Large {
		v.Large = append(v.Large, c.String())
	}
	if r.Reason != policy.Accepted {
		v.Rejected = r.Reason.String()
	}
	if r.Decided != 0 {
		v.Decided = stepName(r.Decided)
	}
	return v
}

func stepName(s rib.Step) string {
	for _, d := range rib.Steps() {
		if d.Step == s {
			return d.Name
		}
	}
	return ""
}

func (s server) nat(r *http.Request) (any, error) {
	out := v1.Translation{NAT: []v1.NAT{}, Guards: []v1.Guard{}}
	kinds := map[nat.Kind]string{nat.None: "none", nat.Interface: "interface", nat.Pool: "pool", nat.Prefix: "prefix"}
	for _, p := range s.Engine.Snapshot().Paths {
		for _, e := range p.NAT {
			out.NAT = append(out.NAT, v1.NAT{Path: p.Name, Network: e.Network.String(), To: e.String(), Kind: kinds[e.Kind]})
		}
	}
	out.Use = []v1.Use{}
	for _, u := range s.Engine.Snapshot().Use {
		out.Use = append(out.Use, v1.Use{Link: u.Link, Address: u.Address.String(), Protocol: u.Protocol, Connections: u.Connections,
			Busiest: u.Busiest, Remote: u.Remote.String(), Of: u.Of})
	}
	counters, err := s.Counters(r.Context())
	if err != nil {
		return nil, err
	}
	for name, c := range counters {
		if nat.IsGuard(name) {
			out.Guards = append(out.Guards, v1.Guard{Name: name, Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	slices.SortFunc(out.Guards, func(a, b v1.Guard) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (s server) events(*http.Request) (any, error) {
	out := []v1.Event{}
	for _, j := range s.Engine.Snapshot().Journal {
		v := v1.Event{At: j.At, Kind: j.Kind, Subject: j.Subject, Text: j.Text, Cause: string(j.Cause), Evidence: string(j.Evidence)}
		for _, p := range j.Phases {
			if v.Phases == nil {
				v.Phases = map[string]float64{}
			}
			v.Phases[p.Name] = float64(p.After.Microseconds()) / 1000
		}
		if j.Lost != nil {
			v.Lost = &v1.Lost{Probes: j.Lost.Probes, Proofs: j.Lost.Proofs}
		}
		out = append(out, v)
	}
	return out, nil
}
