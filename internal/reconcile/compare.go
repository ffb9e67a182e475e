package reconcile

import (
	"context"
	"errors"
	"strings"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/plan"
)

// compare reads everything and marks what differs; the next write repairs it.
func (r *Reconciler) compare(ctx context.Context) {
	before := r.owed()
	had := r.objects()
	drift, err := r.reread(ctx, r.kernel, r.mayGoOn)
	if errors.Is(err, errFailover) {
		r.gaveWay++
		r.Hint()
		return
	}
	r.gaveWay = 0
	if err != nil {
		r.lastError = err.Error()
		r.log.Warn("cannot read the kernel's state", "error", err)
		return
	}
	if r.mode != plan.Hold {
		for _, c := range plan.Diff(r.objects(), had).Before {
			drift = append(drift, c.String())
		}
	}
	if altered, what := r.firewallAltered(ctx); altered {
		drift = append(drift, "nftables: "+what)
		r.rulesetDone = ""
	}
	r.sysctlsDone = nil
	for index, text := range r.shapersDone {
		if strings.Contains(text, "class") {
			delete(r.shapersDone, index)
		}
	}
	r.compared = time.Now()
	r.agrees = len(drift) == 0 && before == 0
	r.comparisons++
	if !r.agrees {
		r.disagreed++
	}
	for i, d := range drift {
		r.repaired++
		if i < 10 {
			r.log.Warn("repairing what somebody changed in the kernel", "change", d)
			r.note(Note{Time: r.compared, Kind: "repaired", Text: d})
		}
	}
}

// owed is how many routes the kernel should have taken, or given up, by now: not those that wait on purpose, for the rest of what is
// decided, the end of a restart, or a link.
func (r *Reconciler) owed() (n int) {
	if r.routes.differ == 0 || r.mode == plan.Hold {
		return 0
	}
	ends := r.mode == plan.Full && !r.more
	can := map[kstate.NexthopID]bool{}
	for _, x := range r.wanted.Nexthops {
		can[x.ID] = true
	}
	r.routes.each(func(_ kstate.RouteKey, p routePair) {
		put := p.wantType != 0 && (p.wantType != kstate.Unicast || can[p.want])
		n += one(!p.agrees() && (put || ends && p.haveType != 0))
	})
	return n
}

// errFailover ends a comparison that a failover would have to wait for.
var errFailover = errors.New("gives way to a failover")

// maxGiveWay is how often in a row a comparison gives way: where links come and go all the time there must be one too.
const maxGiveWay = 8

// mayGoOn is asked while the kernel is read, which takes about a second where it holds a million routes.
func (r *Reconciler) mayGoOn() error {
	if r.gaveWay >= maxGiveWay {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.inbox {
		if quick(&r.inbox[i]) {
			return errFailover
		}
	}
	return nil
}

// firewallAltered reports whether somebody changed the table that was written.
func (r *Reconciler) firewallAltered(ctx context.Context) (bool, string) {
	if r.ruleset == nil || r.rulesetDone == "" || len(r.ruleset.Chains) == 0 {
		return false, ""
	}
	altered, what, err := r.firewall.Altered(ctx)
	if err != nil {
		r.log.Warn("cannot read the nftables table", "error", err)
		return false, ""
	}
	return altered, what
}
