package main

import (
	"fmt"
	"slices"
	"strings"

	v1 "bothways/internal/api/v1"
	"bothways/internal/table"
)

func pathTable(paths []v1.Path) []table.Table {
	t := table.Table{Head: []string{"PATH", "STATE", "PROVIDER", "CAPACITY", "LINKS", "ROUTES", "ANNOUNCES"}}
	for _, p := range paths {
		provider := p.Provider
		if p.Peering != "" {
			provider += " " + p.Peering
		}
		announces := strings.Join(p.Announce, " ")
		if p.Prepend > 0 {
			announces += fmt.Sprintf(" (prepended %d)", p.Prepend)
		}
		t.Add(table.Text(p.Name), state(p.State), table.Text(provider), table.Text(rate(p.Capacity)), count(len(p.Links)),
			count(p.Accepted), table.Text(announces))
	}
	return []table.Table{t}
}

func rate(bits uint64) string {
	switch {
	case bits == 0:
		return ""
	case bits%1e9 == 0:
		return fmt.Sprintf("%dgbit", bits/1e9)
	case bits%1e6 == 0:
		return fmt.Sprintf("%dmbit", bits/1e6)
	}
	return fmt.Sprintf("%dkbit", bits/1e3)
}

func linkTable(links []v1.Link) []table.Table {
	t := table.Table{Head: []string{"LINK", "FAMILY", "STATE", "FOR", "INTERFACE", "NEIGHBOR", "BGP", "CARRIER", "NEIGHBOR TRACK", "MARK", "CONNECTIONS ASTRAY"}}
	for _, l := range links {
		t.Add(table.Text(l.Name), table.Text(l.Family), state(l.State), table.Text(since(l.Since)), table.Text(l.Interface),
			table.Text(l.Neighbor), state(l.BGP), table.Text(l.Carrier), table.Text(l.Reachable), count(l.Number), astray(l))
	}
	return []table.Table{t}
}

// astray says how many connections of a link are not where they would be opened now.
func astray(l v1.Link) table.Cell {
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{l.Staying, "stay"}, {l.Stranded, "stranded"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return table.Text(strings.Join(parts, ", ")).Toned(table.Warn)
}

func sessionTable(sessions []v1.Session) []table.Table {
	t := table.Table{Head: []string{"LINK", "FAMILY", "STATE", "FOR", "NEIGHBOR", "AS", "RECEIVED", "ACCEPTED", "ANNOUNCED", "HOLD", "CAPABILITIES", "LAST ERROR"}}
	for _, s := range sessions {
		lastError := s.LastError
		if s.State == "Established" {
			lastError = ""
		}
		accepted := count(s.Accepted)
		if s.Held > 0 {
			accepted = table.Number(fmt.Sprintf("%d, %d held", s.Accepted, s.Held)).Toned(table.Warn)
		}
		t.Add(table.Text(s.Link), table.Text(s.Family), state(s.State), table.Text(since(s.Since)), table.Text(s.Neighbor),
			table.Number(fmt.Sprint(s.ASN)), count(s.Received), accepted, count(s.Announced), table.Text(s.Hold),
			table.Text(strings.Join(s.Capabilities, " ")).Toned(table.Dim), table.Text(lastError).Toned(table.Bad))
	}
	return []table.Table{t}
}

func routeTable(r v1.Routes) []table.Table {
	t := table.Table{Head: []string{"PREFIX", "TIER", "LINK", "PREF", "AS PATH", "MED", "COMMUNITIES", "WHY NOT FIRST", "REJECTED"}}
	last := ""
	for _, x := range r.Routes {
		prefix := x.Prefix
		if prefix == last {
			prefix = ""
		}
		last = x.Prefix
		tier, med, path := fmt.Sprint(x.Tier), "", x.Path
		if x.MED > 0 {
			med = fmt.Sprint(x.MED)
		}
		if x.Static {
			path = "static default"
		}
		if x.Stale {
			path += " (stale)"
		}
		pref := table.Number(fmt.Sprint(x.Preference))
		tone := table.Good
		if x.Tier > 1 {
			tone = table.Plain
		}
		if x.Rejected != "" {
			tier, pref = "-", table.Number("")
		}
		t.Add(table.Text(prefix), table.Number(tier).Toned(tone), table.Text(x.Link), pref, table.Text(path), table.Number(med),
			table.Text(strings.Join(append(x.Communities, x.Large...), " ")), table.Text(x.Decided).Toned(table.Dim),
			table.Text(x.Rejected).Toned(table.Warn))
	}
	out := []table.Table{t}
	if a := r.Answer; a != nil {
		s := table.Table{Head: []string{"LONGEST MATCH", "STEERED BY", "RANKING", "NOW", "USES"}}
		match := a.Match
		if match == "" {
			match = "none"
		}
		s.Add(table.Text(match), table.Text(a.Steer), table.Text(tiers(a.Tiers, a.Weights)), state(a.Outcome), table.Text(strings.Join(a.Using, " + ")))
		out = append([]table.Table{s}, out...)
	}
	return out
}

func rankingTable(r v1.Rankings) []table.Table {
	t := table.Table{Head: []string{"RANKING", "FAMILY", "NOW", "USES", "KERNEL ROUTES", "GROUP"}}
	for _, x := range r.Rankings {
		text := tiers(x.Tiers, x.Weights)
		if x.Drop {
			text += " > drop"
		}
		t.Add(table.Text(text), table.Text(x.Family), state(x.Outcome), table.Text(strings.Join(x.Using, " + ")), count(x.Routes),
			table.Number(fmt.Sprintf("%#x", x.Group)).Toned(table.Dim))
	}
	out := []table.Table{t}
	if len(r.Steer) > 0 {
		s := table.Table{Head: []string{"STEER", "FROM", "TO", "RANKING", "NOW", "USES"}}
		for _, x := range r.Steer {
			s.Add(table.Text(x.Rule), table.Text(strings.Join(x.From, " ")), table.Text(x.To), table.Text(tiers(x.Tiers, x.Weights)), state(x.Outcome), table.Text(strings.Join(x.Using, " + ")))
		}
		out = append(out, s)
	}
	return out
}

func natTable(n v1.Translation) []table.Table {
	t := table.Table{Head: []string{"PATH", "INSIDE", "BECOMES", "KIND"}}
	for _, x := range n.NAT {
		t.Add(table.Text(x.Path), table.Text(x.Network), table.Text(x.To), table.Text(x.Kind))
	}
	g := table.Table{Head: []string{"GUARD", "PACKETS DROPPED", "BYTES"}}
	for _, x := range n.Guards {
		c := table.Number(fmt.Sprint(x.Packets))
		if x.Packets > 0 {
			c = c.Toned(table.Warn)
		}
		g.Add(table.Text(x.Name), c, table.Number(fmt.Sprint(x.Bytes)))
	}
	if len(n.Use) == 0 {
		return []table.Table{t, g}
	}
	u := table.Table{Head: []string{"LINK", "ADDRESS", "PROTOCOL", "CONNECTIONS", "BUSIEST", "TO", "OF"}}
	for _, x := range n.Use {
		u.Add(table.Text(x.Link), table.Text(x.Address), table.Text(x.Protocol), count(x.Connections), count(x.Busiest), table.Text(x.Remote), count(x.Of).Toned(table.Dim))
	}
	return []table.Table{t, g, u}
}

func eventTable(events []v1.Event) []table.Table {
	t := table.Table{Head: []string{"TIME", "KIND", "SUBJECT", "WHAT"}}
	for _, e := range events {
		t.Add(table.Text(e.At.Format("2006-01-02 15:04:05.000")).Toned(table.Dim), table.Text(e.Kind), table.Text(e.Subject), table.Text(e.Text))
	}
	return []table.Table{t}
}

func statusTable(s v1.Status) []table.Table {
	t := table.Table{Head: []string{"WHAT", "VALUE"}}
	add := func(what, format string, args ...any) {
		t.Add(table.Text(what), table.Text(fmt.Sprintf(format, args...)))
	}
	add("site", "%s", s.Site)
	add("prefixes", "%d IPv4, %d IPv6", s.Prefixes.IPv4, s.Prefixes.IPv6)
	add("kernel", "%d routes, %d nexthops, %d rules", s.Kernel.Routes, s.Kernel.Nexthops, s.Kernel.Rules)
	agrees := "not compared yet"
	if !s.Kernel.Compared.IsZero() {
		agrees = map[bool]string{true: "agrees", false: "differed"}[s.Kernel.Agrees] + " at the last comparison, " + since(s.Kernel.Compared) + " ago"
	}
	add("model", "%s; %d repaired, %d refused since the start", agrees, s.Kernel.Repaired, s.Kernel.Refused)
	add("connections", "%d of at most %d: %s", s.Connections.Count, s.Connections.Limit, s.Connections.State)
	if s.Connections.Unmarked > 0 {
		add("from before", "%d packets of connections that were there before the edge, left alone", s.Connections.Unmarked)
	}
	if s.Kernel.Pending > 0 {
		add("pending", "%d routes", s.Kernel.Pending)
	}
	if s.Mode != "full" {
		add("restart", "%s, waiting for %d sessions", s.Mode, s.Waiting)
	}
	if s.Kernel.LastError != "" {
		add("last error", "%s", s.Kernel.LastError)
	}
	f := table.Table{Head: []string{"FINDING", "ABOUT", "WHAT", "BECAUSE"}}
	for _, x := range s.Findings {
		tone := table.Warn
		if x.Severity == "error" {
			tone = table.Bad
		}
		f.Add(table.Text(x.Severity).Toned(tone), table.Text(x.Subject), table.Text(x.Text), table.Text(x.Reason))
	}
	c := table.Table{Head: []string{"SETTING", "WANTED", "STATE"}}
	for _, x := range s.Kernel.Sysctls {
		c.Add(table.Text(x.Key), table.Text(x.Value), state(x.State))
	}
	if len(s.Findings) > 0 {
		return []table.Table{t, f, c}
	}
	return []table.Table{t, c}
}

func asymmetryTable(a v1.Asymmetry) []table.Table {
	t := table.Table{Head: []string{"OF", "WHAT", "BY", "PACKETS", "CASE", "PROBABLY", "REMEDY", "WITH"}}
	for _, p := range a.Pairs {
		with := p.Remotes
		if len(with) > 3 {
			with = append(slices.Clone(with[:3]), fmt.Sprintf("and %d more", len(p.Remotes)-3+p.RemotesMore))
		}
		t.Add(table.Text(p.Connection), table.Text(p.Kind), table.Text(p.Reply), table.Number(fmt.Sprint(p.Packets)).Toned(table.Bad), table.Text(p.Case),
			table.Text(p.Cause), table.Text(p.Remedy), table.Text(strings.Join(with, " ")))
	}
	o := table.Table{Head: []string{"PATH", "DESTINATION", "NEVER ANSWERED", "OF"}}
	for _, x := range a.OneWay {
		tone := table.Plain
		if x.Unanswered == x.All {
			tone = table.Bad
		}
		o.Add(table.Text(x.Path), table.Text(x.Destination), count(x.Unanswered).Toned(tone), count(x.All))
	}
	if a.OneWayMore > 0 {
		o.Add(table.Text(""), table.Text(fmt.Sprintf("and %d more", a.OneWayMore)))
	}
	out := []table.Table{t, o}
	if len(a.Related) > 0 {
		r := table.Table{Head: []string{"CONNECTION BY", "ICMP ERRORS BY", "PACKETS"}}
		for _, x := range a.Related {
			r.Add(table.Text(x.Connection), table.Text(x.Error), table.Number(fmt.Sprint(x.Packets)))
		}
		out = append(out, r)
	}
	return out
}

func symmetryTable(s v1.Symmetry) []table.Table {
	t := table.Table{Head: []string{"PATH", "POOL", "ANNOUNCED", "PROVIDERS ANSWER BY", "OTHERS BY"}}
	for _, p := range s.Pools {
		t.Add(table.Text(p.Path), table.Text(p.Prefix), table.Text(strings.Join(p.Announced, ", ")), table.Text(strings.Join(p.Provider, " + ")), table.Text(strings.Join(p.Internet, " + ")))
	}
	f := table.Table{Head: []string{"SUBJECT", "CASE", "FINDING", "BECAUSE"}}
	for _, x := range s.Findings {
		f.Add(table.Text(x.Subject), table.Text(x.Case), table.Text(x.Text).Toned(table.Warn), table.Text(x.Reason))
	}
	if len(s.Findings) == 0 {
		return []table.Table{t}
	}
	return []table.Table{t, f}
}

func proofTable(proofs []v1.Proof) []table.Table {
	t := table.Table{Head: []string{"LINK", "AS", "KIND", "WAY BACK", "BY", "RTT", "CASE", "BECAUSE"}}
	for _, p := range proofs {
		tone := table.Plain
		switch {
		case p.Verdict == "same path":
			tone = table.Good
		case p.Verdict == "other path", p.Verdict == "no reply" && p.Kind != "own":
			tone = table.Bad
		}
		rtt := ""
		if p.By != "" {
			rtt = fmt.Sprintf("%.1f ms", p.RTT)
		}
		t.Add(table.Text(p.Link), table.Text(p.Address), table.Text(p.Kind), table.Text(p.Verdict).Toned(tone), table.Text(p.By), table.Number(rtt), table.Text(p.Case), table.Text(p.Why))
	}
	return []table.Table{t}
}

func trackTable(tracks []v1.Track) []table.Table {
	t := table.Table{Head: []string{"LINK", "FAMILY", "TRACK", "TARGET", "STATE", "FOR", "BECAUSE"}}
	for _, x := range tracks {
		t.Add(table.Text(x.Link), table.Text(x.Family), table.Text(x.Kind), table.Text(x.Target), state(x.State), table.Text(since(x.Since)), table.Text(x.Why))
	}
	return []table.Table{t}
}
