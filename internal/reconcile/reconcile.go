package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/plan"
)

// Kernel is the routing part of the kernel.
type Kernel interface {
	Nexthops(context.Context) ([]kstate.Nexthop, error)
	Routes(context.Context, func(kstate.Route) error) error
	Rules(context.Context) ([]kstate.Rule, error)
	// Apply keeps nothing of the changes but in what it returns: their room is used again.
	Apply(context.Context, []kstate.Change) []kstate.Failure
	// HearRoutes says whether changes of our routes by others shall be hinted at.
	HearRoutes(bool) error
	Sysctl(key string) (string, error)
	SetSysctl(key, value string) error
}

// Firewall is the nftables part of the kernel.
type Firewall interface {
	Replace(context.Context, kstate.Ruleset) error
	Remove(context.Context) error
	Altered(context.Context) (bool, string, error)
}

// Queues are the queueing disciplines of interfaces.
type Queues interface {
	Apply(context.Context, kstate.Shaper) error
}

// Note is something that operators want to know: a repair, a refusal, an applied batch.
type Note struct {
	Time     time.Time
	Kind     string // "repaired", "refused", "applied", "compared"
	Text     string
	Sequence uint64 // for "applied": the last batch that is in the kernel
}

// Reconciler is the loop. Make it with New.
type Reconciler struct {
	kernel   Kernel
	firewall Firewall
	queues   Queues
	log      *slog.Logger
	note     func(Note)
	every    time.Duration
	retry    time.Duration // after the first refusal; doubles up to every

	// mu guards inbox and hinted, which Submit and Hint fill while a batch is being written; without it batches would be lost.
	mu      sync.Mutex
	inbox   []plan.Batch
	hinted  bool
	wake    chan struct{}
	arrived chan struct{} // something came into the inbox
	rooms   chan []kstate.RouteChange
	pauses  chan standStill
	status  atomic.Pointer[Status]

	gaveWay int          // comparisons that gave way to a failover since the last one that did not
	pending []plan.Batch // submitted, and not accepted yet
	flight  flight

	model
}

// Status is a published snapshot.
type Status struct {
	Mode     plan.Mode
	Agrees   bool // at the last full comparison
	Compared time.Time
	// Comparisons counts the full ones since the start, Disagreed those that found something else than what is wanted.
	Comparisons, Disagreed int
	Routes                 int // wanted
	Pending                int // wanted and not in the kernel
	Nexthops               int
	Rules                  int
	Repaired               int // since the start
	Refused                int // since the start
	Sequence               uint64
	LastError              string
	Sysctls                []SysctlStatus
}

// SysctlStatus is a setting with what became of it.
type SysctlStatus struct {
	kstate.Sysctl
	State string // "set", "not settable here", waiting, or an error
}

// New returns a reconciler that compares everything each period. note is called from its goroutine and must not block.
func New(k Kernel, f Firewall, q Queues, every time.Duration, log *slog.Logger, note func(Note)) *Reconciler {
	r := &Reconciler{
		kernel: k, firewall: f, queues: q, log: log, note: note, every: every, retry: 20 * time.Millisecond,
		wake: make(chan struct{}, 1), arrived: make(chan struct{}, 1), rooms: make(chan []kstate.RouteChange, keptRooms), pauses: make(chan standStill), model: newModel(),
	}
	r.status.Store(&Status{})
	return r
}

// Status returns the last published state.
func (r *Reconciler) Status() Status { return *r.status.Load() }

// Submit leaves a batch, whose routes are the reconciler's from then on; it never waits for the kernel.
func (r *Reconciler) Submit(b plan.Batch) {
	r.mu.Lock()
	r.inbox = append(r.inbox, b)
	r.mu.Unlock()
	poke(r.arrived)
	poke(r.wake)
}

// A few rooms are kept for Room, none of a whole table.
const keptRooms, maxRoom = 8, 1 << 13

// Room is an empty list of changes whose memory was that of a batch that was accepted, or nil.
func (r *Reconciler) Room() []kstate.RouteChange {
	select {
	case l := <-r.rooms:
		return l
	default:
		return nil
	}
}

func (r *Reconciler) emptied(l []kstate.RouteChange) {
	if cap(l) > maxRoom {
		return
	}
	select {
	case r.rooms <- l[:0]:
	default:
	}
}

// Hint says that somebody may have changed what is ours: a comparison follows soon.
func (r *Reconciler) Hint() {
	r.mu.Lock()
	r.hinted = true
	r.mu.Unlock()
	poke(r.wake)
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Adopt reads what the kernel holds of ours before anything is wanted, and returns it. It must come before Run.
func (r *Reconciler) Adopt(ctx context.Context) (plan.Objects, int, error) {
	if err := r.read(ctx, r.kernel); err != nil {
		return plan.Objects{}, 0, err
	}
	return r.objects(), r.routes.len(), nil
}

// AdoptSettings tells of guarded settings that the daemon before has set: those that are not wanted are set back. It must come
// before Run.
func (r *Reconciler) AdoptSettings(found []kstate.Sysctl) {
	r.sysctlStatus = nil
	for _, s := range found {
		r.sysctlStatus = append(r.sysctlStatus, SysctlStatus{s, "set"})
	}
}

// firewallEvery is how often the nftables table is looked at: the kernel sends no hint that would not cost more.
const firewallEvery = time.Second

// hintPause lets a burst of hints settle before the kernel is read.
const hintPause = 50 * time.Millisecond

// Run works until the context ends; what was submitted before that is written first.
func (r *Reconciler) Run(ctx context.Context) error {
	compare := time.NewTimer(r.every)
	defer compare.Stop()
	pause := r.retry
	again := time.NewTimer(pause)
	again.Stop()
	defer again.Stop()
	firewall := time.NewTicker(firewallEvery)
	defer firewall.Stop()
	done := ctx.Done()
	var still *standStill
	// The last batches go out even though ctx has ended.
	work := context.WithoutCancel(ctx)
	defer r.fly(work)()
	for {
		stop := false
		select {
		case <-done:
			stop = true
		case <-r.wake:
		case p := <-r.pauses:
			still = &p
		case <-compare.C:
			r.compare(work)
			compare.Reset(r.every)
		case <-again.C:
			r.compare(work)
		case <-firewall.C:
			if altered, _ := r.firewallAltered(work); !altered {
				continue
			}
			r.compare(work)
		}
		if r.takeHint() {
			compare.Reset(hintPause)
		}
		ok := r.turn(work)
		if ok {
			pause = r.retry
			clear(r.refusals)
		} else {
			again.Reset(pause)
			pause = min(2*pause, r.every)
		}
		r.publish()
		if stop {
			return nil
		}
		if still != nil {
			close(still.still)
			select {
			case <-still.over:
				still = nil
			case <-done:
				return nil // the kernel may be another process's to write by now
			}
		}
	}
}

func (r *Reconciler) takeHint() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hinted
	r.hinted = false
	return h
}

// turn takes what was submitted and writes it. It reports whether the kernel took everything.
func (r *Reconciler) turn(ctx context.Context) bool {
	r.skip = map[kstate.RouteKey]bool{}
	ok := true
	for done := false; !done; {
		ok = r.acceptNext(ctx) && ok
		r.routes.rewind()
		var fine bool
		done, fine = r.write(ctx)
		ok = fine && ok
	}
	// What was refused is shown and tried again; everything else is in the kernel, and what waits for it may go on.
	if r.mode != plan.Hold {
		r.applied()
	}
	r.left = r.routes.differ
	if !r.more {
		r.hear()
	}
	return ok
}

// acceptNext takes what was submitted into what is wanted: all of it, but of a table that is being decided one lot, so that the
// kernel has work meanwhile, unless much is looked at in vain for each. It reports whether the kernel took what was written for it.
func (r *Reconciler) acceptNext(ctx context.Context) bool {
	ok := true
	r.pending = append(r.pending, r.submitted()...)
	n := len(r.pending)
	if n > 0 && r.pending[0].More && r.routes.unready <= maxUnready && !slices.ContainsFunc(r.pending, func(b plan.Batch) bool { return !calm(&b) }) {
		n = 1
	}
	for i := range n {
		b := &r.pending[i]
		if !calm(b) {
			ok = r.land() && ok
		}
		settled := r.sequence == r.accepted
		r.accept(b)
		settled = settled && r.routes.differ <= r.left // none was lost with a carrier
		if i+1 < n && quick(b) && r.rulesetDone != "" {
			ok = r.writeQuick(ctx, settled) && ok
		}
	}
	for i := range n {
		r.emptied(r.pending[i].Routes)
	}
	r.pending = slices.Delete(r.pending, 0, n)
	return ok
}

// maxUnready is how many routes that wait, as those to be deleted do, may be looked at for each lot.
const maxUnready = 8 * maxBatch

// calm reports whether a batch is little but routes, as those of a table are that is being decided: it may wait for a lot.
func calm(b *plan.Batch) bool {
	return len(b.Routes) > 0 && len(b.Lost) == 0 && !b.Replace && b.Ruleset == nil
}

// quick reports whether a batch is about nothing but groups and rules, as the quick half of a failover is.
func quick(b *plan.Batch) bool {
	return len(b.Routes) == 0 && b.Ruleset == nil && !b.Replace && b.Mode != plan.Hold
}

// writeQuick writes groups and rules of a quick batch behind which another waits already: in that one the routes may have other
// groups, so that without the first they would have to be moved one by one. Settled: all routes are in the kernel that it takes, so that
// with these all of the batch is.
func (r *Reconciler) writeQuick(ctx context.Context, settled bool) bool {
	ok := r.applySmall(ctx, r.steps())
	if ok && settled && r.mode == plan.Full {
		r.applied()
	}
	return ok
}

// applied tells that everything of what was accepted is in the kernel.
func (r *Reconciler) applied() {
	if r.sequence != r.accepted {
		r.sequence = r.accepted
		r.note(Note{Time: time.Now(), Kind: "applied", Sequence: r.sequence})
	}
}

// applySmall writes what comes ahead of the routes.
func (r *Reconciler) applySmall(ctx context.Context, s plan.Steps) bool {
	ok := r.apply(ctx, s.Before)
	if r.mode != plan.Full {
		return ok // nothing is deleted yet
	}
	return r.apply(ctx, s.Unstick) && ok
}

// submitted takes what was submitted.
func (r *Reconciler) submitted() []plan.Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	batches := r.inbox
	r.inbox = nil
	return batches
}

// waiting reports whether something was submitted that is not accepted yet, and whether some of it is not calm. Writing a million
// routes takes seconds, and a group that has to move must not wait for them.
func (r *Reconciler) waiting() (some, urgent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.inbox {
		urgent = urgent || !calm(&r.inbox[i])
	}
	return len(r.inbox)+len(r.pending) > 0, urgent
}

// write brings the kernel from the modelled state to the wanted one. It is not done where it stopped between two lots
// of routes because something else is wanted by now; ok is false where the kernel refused something.
func (r *Reconciler) write(ctx context.Context) (done, ok bool) {
	ok = true
	r.unguard()
	if r.rulesetDone == "" || r.newlyGuarded() {
		// What is forwarded before the table is there leaves untranslated, and its connection stays so for good.
		ok = r.writeFirewall(ctx)
	}
	ok = r.writeSysctls(ok) && ok
	r.writeShapers(ctx)
	if r.mode == plan.Hold {
		ok = r.land() && ok
		return len(r.pending) == 0, r.writeFirewall(ctx) && ok
	}
	ok = r.applySmall(ctx, r.steps()) && ok
	done, fine := r.putRoutes()
	ok = fine && ok
	if !done {
		return false, ok
	}
	// Translation changes when the ways exist, and before the old ones go.
	ok = r.writeFirewall(ctx) && ok
	if r.mode != plan.Full {
		return true, r.apply(ctx, r.deadSingles()) && ok
	}
	if r.more {
		return true, r.apply(ctx, ruleChanges(r.steps().Behind())) && ok
	}
	for _, metric := range [...]uint32{kstate.MetricEnd, kstate.MetricTier, 0} {
		for {
			routes := r.dirtyDeletes(metric)
			if len(routes.changes) == 0 {
				r.free(routes)
				break
			}
			r.launch(routes)
			ok = r.landed(<-r.flight.landed) && ok
			if some, _ := r.waiting(); some {
				return false, ok
			}
		}
	}
	ok = r.apply(ctx, r.steps().Behind()) && ok
	// Behind everything: it changes no way that a packet goes now.
	return true, r.apply(ctx, plan.Again(r.wanted, r.puts)) && ok
}

func ruleChanges(all []kstate.Change) (rules []kstate.Change) {
	for _, c := range all {
		if c.Rule != nil {
			rules = append(rules, c)
		}
	}
	return rules
}

// maxBatch bounds what is written at once, and so what a failover waits for: about 1.3 ms.
const maxBatch = 500

func (r *Reconciler) apply(ctx context.Context, changes []kstate.Change) bool {
	if len(changes) == 0 {
		return true
	}
	ok := r.land()
	failures := r.kernel.Apply(ctx, changes)
	failed := r.failed(failures)
	for _, c := range changes {
		if !failed[c.String()] {
			r.done(c)
		}
	}
	return ok && len(failures) == 0
}

// failed tells of what the kernel refused, and returns it.
func (r *Reconciler) failed(failures []kstate.Failure) map[string]bool {
	failed := make(map[string]bool, len(failures))
	for i, f := range failures {
		failed[f.Change.String()] = true
		r.refused++
		if i < 3 {
			r.refuse(fmt.Sprintf("%s: %s", f.Change, f.Err))
		}
	}
	return failed
}

// refuse tells of a refusal, once for each until nothing is refused any more.
func (r *Reconciler) refuse(text string) {
	r.lastError = text
	if r.refusals[text] || len(r.refusals) >= maxRefusals {
		return
	}
	r.refusals[text] = true
	r.log.Warn("kernel refused a change", "error", text)
	r.note(Note{Time: time.Now(), Kind: "refused", Text: text})
}

// maxRefusals bounds what is told of one trouble.
const maxRefusals = 100

func (r *Reconciler) writeFirewall(ctx context.Context) bool {
	if r.ruleset == nil {
		return true
	}
	text := r.ruleset.String()
	if text == r.rulesetDone {
		return true
	}
	write := func() error { return r.firewall.Replace(ctx, *r.ruleset) }
	if len(r.ruleset.Chains) == 0 {
		write = func() error { return r.firewall.Remove(ctx) }
	}
	if err := write(); err != nil {
		r.refused++
		r.refuse(err.Error())
		return false
	}
	r.rulesetDone = text
	return true
}

func (r *Reconciler) publish() {
	r.status.Store(&Status{
		Mode: r.mode, Agrees: r.agrees, Compared: r.compared, Comparisons: r.comparisons, Disagreed: r.disagreed, Routes: r.routes.wanted, Pending: r.routes.differ,
		Nexthops: len(r.nexthops), Rules: len(r.rules), Repaired: r.repaired, Refused: r.refused,
		Sequence: r.sequence, LastError: r.lastError, Sysctls: r.sysctlStatus,
	})
}
