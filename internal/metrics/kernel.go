package metrics

import (
	"bothways/internal/engine"
	"bothways/internal/plan"
	"bothways/internal/reconcile"
)

var (
	mode     = gauge("mode", "1 for the mode that the daemon is in: hold (after a restart, until the neighbors have said everything), adopt (a link died meanwhile), full.", "mode")
	awaited  = gauge("sessions_awaited", "Sessions that a restart waits for.")
	findings = gauge("findings", "What is wrong with the configuration and cannot be seen in the file, and rules of the providers that what is announced breaks, by severity.", "severity")

	agrees       = gauge("kernel_agrees", "1 if the kernel held what it shall at the last full comparison.")
	comparisons  = counter("kernel_comparisons_total", "Full comparisons with the kernel since the daemon began.")
	disagreed    = counter("kernel_disagreements_total", "Those of them that found something else than what is wanted.")
	compared     = gauge("kernel_compared_timestamp_seconds", "When the last full comparison was.")
	kernelRoutes = gauge("kernel_routes", "Routes that the kernel shall hold, of both families and all tables of ours.")
	pending      = gauge("kernel_pending_routes", "Those of them that it does not hold yet.")
	behind       = gauge("kernel_behind", "Batches of changes that are decided and not in the kernel yet.")
	nexthops     = gauge("kernel_nexthops", "Nexthop objects and groups of ours.")
	rules        = gauge("kernel_rules", "Policy rules of ours.")
	repairs      = counter("kernel_repairs_total", "Changes by others that were found and set right since the daemon began.")
	refusals     = counter("kernel_refusals_total", "Changes that the kernel refused since the daemon began; they are tried again.")
)

func kernelMetrics() []metric {
	return []metric{mode, awaited, findings, agrees, comparisons, disagreed, compared, kernelRoutes, pending, behind, nexthops, rules, repairs, refusals}
}

func (o out) state(s *engine.Snapshot) {
	for _, m := range []plan.Mode{plan.Full, plan.Adopt, plan.Hold} {
		o.flag(mode, s.Mode == m, m.String())
	}
	o.count(awaited, s.Waiting)
	n := map[string]int{"error": 0, "warning": 0}
	for _, f := range s.Findings {
		n[string(f.Severity)]++
	}
	for _, f := range s.Symmetry.Findings {
		n[string(f.Severity)]++
	}
	for severity, count := range n {
		o.count(findings, count, severity)
	}
}

func (o out) kernel(s *engine.Snapshot, k reconcile.Status) {
	o.flag(agrees, k.Agrees)
	o.count(comparisons, k.Comparisons)
	o.count(disagreed, k.Disagreed)
	o.at(compared, k.Compared)
	o.count(kernelRoutes, k.Routes)
	o.count(pending, k.Pending)
	o.put(behind, float64(s.Sequence-min(k.Sequence, s.Sequence)))
	o.count(nexthops, k.Nexthops)
	o.count(rules, k.Rules)
	o.count(repairs, k.Repaired)
	o.count(refusals, k.Refused)
}
