package api

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"

	v1 "bothways/internal/api/v1"
	"bothways/internal/engine"
	"bothways/internal/flow"
	"bothways/internal/nat"
	"bothways/internal/proof"
	"bothways/internal/route"
)

// Bounds of an answer: connections to a full table of prefixes, and remote addresses as many as the kernel keeps, are not for people.
const (
	maxOneWay  = 200
	maxRemotes = 100
)

// first is the beginning of a list, and how many more there are.
func first[T any](list []T, n int) (shown []T, more int) {
	n = min(n, len(list))
	return list[:n], len(list) - n
}

func (s server) asymmetry(r *http.Request) (any, error) {
	out := v1.Asymmetry{Pairs: []v1.AsymmetryPair{}, Related: []v1.RelatedPair{}}
	counters, err := s.Counters(r.Context())
	if err != nil {
		return nil, err
	}
	snap := s.Engine.Snapshot()
	for name, c := range counters {
		if connection, reply, ok := nat.ParseRelated(name); ok && c.Packets > 0 {
			out.Related = append(out.Related, v1.RelatedPair{Connection: connection, Error: reply, Packets: c.Packets})
		}
		x, ok := nat.ParseCrossing(name)
		if !ok || c.Packets == 0 {
			continue
		}
		pair := v1.AsymmetryPair{Connection: x.Connection, Reply: x.By, Kind: crossingWord(x.Kind), Packets: c.Packets, Bytes: c.Bytes, Remotes: []string{}}
		var all []netip.Addr
		for _, f := range route.Families() {
			remotes, err := s.Addresses(r.Context(), x.Set(f))
			if err != nil {
				return nil, err
			}
			all = append(all, remotes...)
		}
		shown, more := first(all, maxRemotes)
		pair.RemotesMore = more
		for _, a := range shown {
			pair.Remotes = append(pair.Remotes, a.String())
		}
		err := s.Engine.Query(r.Context(), func(v *engine.View) {
			why := v.Explain(x, all)
			pair.Case, pair.Cause, pair.Remedy = why.Case, why.Cause, why.Remedy
		})
		if err != nil {
			return nil, err
		}
		out.Pairs = append(out.Pairs, pair)
	}
	slices.SortFunc(out.Pairs, func(a, b v1.AsymmetryPair) int {
		return cmp.Or(cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Reply, b.Reply), cmp.Compare(a.Kind, b.Kind))
	})
	slices.SortFunc(out.Related, func(a, b v1.RelatedPair) int {
		return cmp.Or(cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Error, b.Error))
	})
	oneWay, err := s.oneWay(r, snap)
	out.OneWay, out.OneWayMore = first(oneWay, maxOneWay)
	return out, err
}

func crossingWord(k flow.CrossingKind) string {
	return map[flow.CrossingKind]string{flow.ReplyIn: "replies in", flow.ReplyOut: "replies out", flow.Request: "requests"}[k]
}

func (s server) proofs(*http.Request) (any, error) {
	out := []v1.Proof{}
	for _, p := range s.Engine.Snapshot().Proofs {
		v := v1.Proof{Link: p.Link, Path: p.Path, Family: route.FamilyOf(p.Address).String(), Address: p.Address.String(), Kind: string(p.Kind),
			Verdict: p.Verdict.String(), Case: p.Case, Why: p.Text, Since: p.Since, At: p.At}
		if p.Verdict != proof.Unknown {
			v.By, v.Target, v.RTT = p.Last.Link, p.Last.Target.String(), float64(p.Last.RTT.Microseconds())/1000
		}
		out = append(out, v)
	}
	return out, nil
}

func (s server) symmetry(*http.Request) (any, error) {
	view := s.Engine.Snapshot().Symmetry
	out := v1.Symmetry{Pools: []v1.Pool{}, Findings: []v1.Finding{}}
	for _, p := range view.Pools {
		v := v1.Pool{Path: p.Path, Prefix: p.Prefix.String(), Announced: []string{}, Provider: slices.Concat([]string{}, p.Provider), Internet: slices.Concat([]string{}, p.Internet)}
		for _, a := range p.Announced {
			v.Announced = append(v.Announced, a.Prefix.String()+" by "+a.Path)
		}
		out.Pools = append(out.Pools, v)
	}
	for _, f := range view.Findings {
		out.Findings = append(out.Findings, v1.Finding{Severity: string(f.Severity), Subject: f.Subject, Case: f.Case, Text: f.Text, Reason: f.Reason})
	}
	return out, nil
}

// oneWay groups the connections of each link by what the table matches for their remote end, those with most that are not answered first.
func (s server) oneWay(r *http.Request, snap *engine.Snapshot) ([]v1.OneWay, error) {
	type key struct {
		path string
		dst  netip.Prefix
	}
	counts := map[key]*v1.OneWay{}
	for _, l := range snap.Links {
		for _, f := range l.Families {
			flows, err := s.Flows(r.Context(), f.Family, l.Mark, snap.Mask)
			if err != nil {
				return nil, err
			}
			err = s.Engine.Query(r.Context(), func(v *engine.View) {
				for _, x := range flows {
					k := key{l.Path, v.Match(x.Remote())}
					c := counts[k]
					if c == nil {
						c = &v1.OneWay{Path: l.Path, Destination: k.dst.String()}
						counts[k] = c
					}
					c.All++
					if !x.Answered {
						c.Unanswered++
					}
				}
			})
			if err != nil {
				return nil, err
			}
		}
	}
	out := []v1.OneWay{}
	for _, c := range counts {
		if c.Unanswered > 0 {
			out = append(out, *c)
		}
	}
	slices.SortFunc(out, func(a, b v1.OneWay) int {
		return cmp.Or(b.Unanswered-a.Unanswered, cmp.Compare(a.Path, b.Path), cmp.Compare(a.Destination, b.Destination))
	})
	return out, nil
}
