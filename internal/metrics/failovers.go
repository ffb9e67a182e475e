package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"bothways/internal/engine"
)

var (
	failovers    = counter("failovers_total", "Failures and drains of the link that the kernel was changed for, by cause.", "link", "cause")
	phaseSeconds = metric{Desc: prometheus.NewDesc("bothways_failover_phase_seconds",
		"How long after a failure was seen the phase was over; detected and reported: how long before that the evidence was, and word of it. What detected counts from follows from the cause.",
		[]string{"phase", "cause"}, nil)}
	lastPhase = gauge("failover_last_phase_seconds", "The phases of the link's last failover.", "link", "cause", "phase")
	lastSeen  = gauge("failover_last_timestamp_seconds", "When the link's last failover was seen.", "link", "cause")
	lastLost  = gauge("failover_last_lost", "Probes and proofs that were lost in the link's last failover; missing where that was not counted.", "link", "kind")
	lost      = counter("failover_lost_total", "Probes and proofs that were sent by the link when it failed, after its last answer and until the first by another way. Other packets are not counted.", "link", "kind")
)

func failoverMetrics() []metric {
	return []metric{failovers, phaseSeconds, lastPhase, lastSeen, lastLost, lost}
}

func causes() []engine.Cause {
	return []engine.Cause{engine.CauseBFD, engine.CauseCarrier, engine.CauseDrain, engine.CauseNeighbor, engine.CauseProbes, engine.CauseSession}
}

// failovers shows what was counted. Counters that are 0 are there, so that their first step is seen.
func (o out) failovers(s *engine.Snapshot) {
	f := s.Failovers
	if f == nil {
		f = &engine.Failovers{}
	}
	type key struct {
		link  string
		cause engine.Cause
	}
	n := map[key]uint64{}
	for _, c := range f.Counts {
		n[key{c.Link, c.Cause}] = c.Count
	}
	sums := map[string]engine.LostCount{}
	for _, l := range f.Lost {
		sums[l.Link] = l
	}
	for _, l := range s.Links {
		for _, c := range causes() {
			o.put(failovers, float64(n[key{l.Name, c}]), l.Name, string(c))
		}
		o.count(lost, sums[l.Name].Probes, l.Name, "probes")
		o.count(lost, sums[l.Name].Proofs, l.Name, "proofs")
	}
	for _, p := range f.Phases {
		o.histogram(p)
	}
	for _, l := range f.Last {
		o.at(lastSeen, l.Seen, l.Link, string(l.Cause))
		told := map[string]bool{}
		for _, p := range l.Phases {
			if !told[p.Name] { // of announcements there may be more
				told[p.Name] = true
				o.put(lastPhase, p.After.Seconds(), l.Link, string(l.Cause), p.Name)
			}
		}
		if l.Lost != nil {
			o.count(lastLost, l.Lost.Probes, l.Link, "probes")
			o.count(lastLost, l.Lost.Proofs, l.Link, "proofs")
		}
	}
}

func (o out) histogram(p engine.PhaseCount) {
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range engine.PhaseBounds() {
		sum += p.Buckets[i]
		buckets[bound.Seconds()] = sum
	}
	sum += p.Buckets[len(p.Buckets)-1]
	o <- prometheus.MustNewConstHistogram(phaseSeconds.Desc, sum, p.Sum.Seconds(), buckets, p.Phase, string(p.Cause))
}
