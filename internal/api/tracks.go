package api

import (
	"net/http"

	v1 "bothways/internal/api/v1"
	"bothways/internal/track"
)

func (s server) tracks(*http.Request) (any, error) {
	out := []v1.Track{}
	for _, l := range s.Engine.Snapshot().Links {
		add := func(family string, kind track.Kind, target string, st track.State) {
			word := "up"
			switch {
			case !st.Seen:
				word = "unknown"
			case st.Down:
				word = "down"
			}
			out = append(out, v1.Track{Link: l.Name, Family: family, Kind: string(kind), Target: target, State: word, Why: st.Why, Since: st.Since})
		}
		add("", track.Carrier, "", l.Carrier)
		for _, f := range l.Families {
			family := f.Family.String()
			if f.Neighbor.IsValid() {
				add(family, track.Neighbor, f.Neighbor.String(), f.Track)
			}
			if f.HasBFD {
				add(family, track.BFD, f.Neighbor.String(), f.BFD)
			}
			if targets := f.Probes.Targets(); len(targets) > 0 {
				add(family, track.Probe, "", f.Probes.State)
				for _, t := range targets {
					add(family, "probe", t.Name, t.State)
				}
			}
		}
	}
	return out, nil
}
