package engine

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"bothways/internal/config"
	"bothways/internal/fib"
	"bothways/internal/kstate"
	"bothways/internal/nat"
	"bothways/internal/plan"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// Deps are what the engine acts through.
type Deps struct {
	Speaker Speaker
	Kernel  Kernel
	Watch   Watch
	Flows   Flows
	Store   Store
	BFD     Detector
	Probes  Prober
	Proofs  Prover
	Log     *slog.Logger
}

// Engine is the loop. Make it with New; Run owns everything below.
type Engine struct {
	deps     Deps
	inbox    chan Event
	urgent   chan Event // what urgent reports; ahead of the inbox
	first    Interfaces // as they were before the start
	snapshot atomic.Pointer[Snapshot]

	cfg        *config.Config
	links      []*link
	numbers    map[string]route.Link
	interfaces []kstate.Interface
	tables     [2]*family
	restart    plan.Restart
	journal    journal
	carriers   map[int]carrierSeen
	learned    Learned
	orphans    []route.Link                  // numbers that an earlier daemon gave to interfaces that no link has any more
	told       map[nat.Crossing]time.Time    // when the journal last spoke of replies by another path
	pins       map[netip.Prefix][]route.Link // what each pin used at the last look
	outages    []outage
	tally      tally
	announce   map[SessionKey][]route.Announcement // what the speaker was told last
	proofs     proofs
	symmetry   symmetry
	fill       fill
	moves      map[moveKey]uint64 // connections to look at, once the batch of this sequence is in the kernel; 0: the next

	walking bool // tables are being worked on

	now      time.Time
	taken    int // prefixes in this turn
	lot      int // lotSize; smaller in tests, where tables are small
	sequence uint64
	// tableSequence is of the last batch with a ruleset, appliedSequence of the last one that is in the kernel.
	tableSequence, appliedSequence uint64
	lost                           []int
	withdrawn                      bool
	table                          table
	replace                        bool // changes of the families are all that is wanted
	changed                        bool // something that the snapshot shows
	sent                           sentState
	due                            map[dueKey]time.Time
	surveys                        map[moveKey]*survey
	captured                       captured
	pinRoutes                      map[netip.Addr]int // interface by which each pinned address would leave
	// surveyTells: a change is the reason for the next survey, so what it finds is for the journal.
	surveyTells bool
	replies     []func() // for the end of the turn

	handed   bool    // another daemon handed over
	freezing *Freeze // who waits for the engine to stand still
}

// family is the part of the state that exists once per address family.
type family struct {
	f       route.Family
	table   *rib.Table
	fib     *fib.FIB
	inside  []kstate.Nexthop
	due     route.LinkSet // links whose whole table is taken at the end of the turn
	down    route.LinkSet // links whose session just ended: dead to the rankings until their routes are taken out
	drained route.LinkSet
	moved   route.LinkSet
	changes []kstate.RouteChange
	later   []kstate.RouteChange // in the tables of links: what is new finds its way without them
}

// wants notes a route that shall be in the kernel, or shall not.
func (t *family) wants(c kstate.RouteChange) {
	if isLinkTable(c.Route.Table) {
		t.later = append(t.later, c)
		return
	}
	t.changes = append(t.changes, c)
}

func isLinkTable(n uint32) bool { return n > kstate.Table && n <= kstate.Table+kstate.MaxLinks }

// purge takes out the routes of a link whose session ended.
func (t *family) purge(l route.Link) {
	t.table.RemoveLink(l)
	t.down.Remove(l)
}

// dueKey names something that happens at a time unless it is called off.
type dueKey struct {
	what string
	key  SessionKey
}

// Times that protect against neighbors that never finish.
const (
	adoptTime   = 120 * time.Second // as long as neighbors keep our routes, RFC 4724's suggestion for the restart time
	refreshTime = 6 * time.Minute   // RFC 7313 leaves it open; BIRD's and FRR's stale time for graceful restart
	quietTime   = 2 * time.Second   // a full table has no such pause, neighbors pace updates at 1 s at most inside one
	refuseTime  = 2 * time.Minute   // until a neighbor that sent too much is taken back
)

// New returns an engine for a configuration. Nothing happens before Run.
func New(c *config.Config, found Adopted, now Interfaces, deps Deps) *Engine {
	e := &Engine{deps: deps, lot: lotSize, first: now, inbox: make(chan Event, 64), urgent: make(chan Event, 64), due: map[dueKey]time.Time{}, moves: map[moveKey]uint64{}, surveys: map[moveKey]*survey{}, captured: captured{}, pinRoutes: map[netip.Addr]int{}, told: map[nat.Crossing]time.Time{}, carriers: map[int]carrierSeen{}}
	if found.Handover != nil {
		found.Numbers = found.Handover.Numbers
	}
	e.restart.Found = found.Found()
	e.numbers = numberLinks(allLinks(c), found.Numbers, numberLimit(c))
	e.learned = found.Learned
	e.orphans = orphans(found.Numbers, e.numbers)
	for _, f := range route.Families() {
		e.tables[at(f)] = &family{f: f, table: rib.NewTable(f)}
		e.tables[at(f)].table.Between(urgentEvery, e.hearUrgent)
	}
	e.tally = newTally(nil)
	e.resume(found.Handover)
	first := &Snapshot{Site: c.Site}
	if e.restart.Found {
		first.Mode = plan.Hold // until Run says more: to be full it would have to have begun
	}
	e.snapshot.Store(first)
	e.cfg = c
	return e
}

// Tell hands the engine an event; it blocks while the engine is behind, which is what slows a neighbor down. What may be a link's
// failure does not wait behind what neighbors say.
func (e *Engine) Tell(ctx context.Context, ev Event) {
	to := e.inbox
	if urgent(ev) {
		to = e.urgent
	}
	select {
	case to <- ev:
	case <-ctx.Done():
	}
}

// Snapshot returns the last published state.
func (e *Engine) Snapshot() *Snapshot { return e.snapshot.Load() }

// Query runs a question on the owner of the state and waits for it.
func (e *Engine) Query(ctx context.Context, do func(*View)) error {
	done := make(chan struct{})
	e.Tell(ctx, Ask{do, done})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reload replaces the configuration, and returns why not where it cannot.
func (e *Engine) Reload(ctx context.Context, c *config.Config) error {
	reply := make(chan error, 1)
	e.Tell(ctx, Reload{c, reply})
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Drain sets or ends the drain of a link, and returns why not where it cannot.
func (e *Engine) Drain(ctx context.Context, link string, on, move bool) error {
	reply := make(chan error, 1)
	e.Tell(ctx, Drain{Link: link, On: on, Move: move, At: time.Now(), Reply: reply})
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// maxBurst and maxBurstRoutes bound how many events, and how many prefixes in them, one turn takes, so that what was
// decided reaches the kernel while more comes, and what a turn decides stays small.
const (
	maxBurst       = 128
	maxBurstRoutes = 1 << 16
)

// Run works until the context ends.
func (e *Engine) Run(ctx context.Context) error {
	e.now = time.Now()
	e.restart.Deadline = e.now.Add(adoptTime)
	if e.restart.Found {
		e.at(dueKey{what: "adopt"}, adoptTime)
		e.note("restart", "kernel", e.adoptedText())
	}
	for _, n := range e.orphans {
		for _, f := range route.Families() {
			e.moves[moveKey{n, f}] = 0
		}
	}
	e.interfaces = e.first.All
	e.configure(e.cfg)
	e.setInterfaces(e.first)
	e.resumeMoves()
	e.settle()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	for {
		if ctx.Err() != nil {
			return nil
		}
		ev, ok := e.another()
		if !ok {
			wake.Reset(e.nextDue())
			select {
			case <-ctx.Done():
				return nil
			case ev = <-e.urgent:
			case ev = <-e.inbox:
			case <-wake.C:
				ev = timer{}
			}
		}
		e.now, e.taken = time.Now(), 0
		for n, ok := 0, true; ok; n++ {
			e.handle(ev)
			if n == maxBurst || e.taken >= maxBurstRoutes {
				break
			}
			ev, ok = e.another()
		}
		e.fire()
		e.settle()
		for _, do := range e.replies {
			do()
		}
		e.replies = e.replies[:0]
		if !e.standStill(ctx) {
			return nil
		}
	}
}

func (e *Engine) handle(ev Event) {
	switch ev := ev.(type) {
	case SessionUp:
		e.sessionUp(ev)
	case SessionDown:
		e.sessionDown(ev)
	case SessionUpdates:
		e.sessionUpdates(ev)
	case SessionEndOfRIB:
		e.heardEnd(ev.Key)
	case SessionRefresh:
		e.refresh(ev)
	case SessionAnnounced:
		e.sessionAnnounced(ev)
	case SessionDiagnostic:
		e.note("update", ev.Key.String(), ev.Text)
	case Interfaces:
		e.setInterfaces(ev)
	case CarrierChanged:
		e.carrier(ev)
	case NeighborSeen:
		e.neighbor(ev)
	case BFDChanged:
		e.bfd(ev)
	case Probed:
		e.probed(ev)
	case Proved:
		e.proved(ev)
	case Filled:
		e.filled(ev)
	case FlowsCut:
		e.flowsCut(ev)
	case FlowsUsed:
		e.used(ev)
	case FlowsSampled:
		e.flowsSampled(ev)
	case Asymmetric:
		e.asymmetric(ev)
	case Captured:
		e.gatewaysSpeak(ev)
	case PinRouted:
		e.pinRouted(ev)
	case FlowsListed:
		e.judgeFlows(ev)
	case Applied:
		e.applied(ev)
		e.moveFlows(ev.Sequence)
	case Happened:
		e.noteAt(ev.At, ev.Kind, ev.Subject, ev.Text)
	case Reload:
		e.note("reload", e.cfg.Site, "configuration replaced")
		e.numbers = numberLinks(allLinks(ev.Config), e.numbers, numberLimit(ev.Config))
		e.configure(ev.Config)
		e.noteAllMoves()
		e.refreshBlocked()
		e.reply(func() { ev.Reply <- nil })
	case Drain:
		err := e.drain(ev)
		e.reply(func() { ev.Reply <- err })
	case Ask:
		e.reply(func() { ev.Do(&View{e}); close(ev.Done) })
	case Freeze:
		e.freezing = &ev
	case Withdraw:
		e.withdraw()
		e.reply(func() { close(ev.Reply) })
	}
}

// reply keeps a reply until the turn has settled: who hears that something was done also sees it in the snapshot.
func (e *Engine) reply(do func()) { e.replies = append(e.replies, do) }

// configure makes everything follow a configuration: at the start, and at a reload.
func (e *Engine) configure(c *config.Config) {
	old := e.links
	e.links = build(c, e.numbers, old)
	e.cfg, e.table = c, table{}
	e.tally.keep(e.linkNames())
	e.keepDrains(old)
	for _, t := range e.tables {
		for _, l := range old {
			if !slices.ContainsFunc(e.links, func(now *link) bool { return now.number == l.number }) {
				t.table.RemoveLink(l.number)
				e.moves[moveKey{l.number, t.f}] = 0
			}
		}
		for _, l := range old {
			if now := e.linkNamed(l.FullName()); (now == nil || !now.speaks(t.f) || now.number != l.number) && l.speaks(t.f) {
				// Its session ends, and nobody will be there to tell that. Where it has ended in this turn, what the link has now
				// is not taken out with its routes.
				t.purge(l.number)
			}
		}
		for _, l := range e.links {
			t.table.SetLink(l.number, l.params(t.f, c.RouterID))
			t.table.Rejudge(l.number, l.imports[at(t.f)])
		}
	}
	e.findInterfaces(time.Time{}, nil)
	e.statics()
	for _, t := range e.tables {
		e.rebuild(t)
	}
	e.replace = true
	e.symmetry.key = "" // another configuration
	clear(e.fill.use)
	clear(e.fill.levels)
	clear(e.surveys)
	e.setHolds()
	e.speak()
	e.watch()
	e.detect()
	e.changed = true
}

// rebuild computes the routes of a family anew; the reconciler finds what differs.
func (e *Engine) rebuild(t *family) {
	t.table.Commit(func(rib.Change) {})
	inside, routes := insideHops(e.cfg, e.interfaces, t.f)
	t.inside = inside
	t.fib = fib.New(t.f, fibParams(e.cfg, e.links, e.learned, t.f, routes), t.table)
	t.changes, t.later = t.changes[:0], t.later[:0]
	for p, s := range t.table.States() {
		t.fib.Change(rib.Change{Prefix: p, New: s}, t.wants)
	}
}

func (e *Engine) linkNamed(name string) *link {
	for _, l := range e.links {
		if l.FullName() == name {
			return l
		}
	}
	return nil
}

func (e *Engine) at(k dueKey, after time.Duration) { e.due[k] = e.now.Add(after) }

func (e *Engine) nextDue() time.Duration {
	next := time.Hour
	for _, t := range e.due {
		next = min(next, time.Until(t))
	}
	return max(next, 0)
}

// publishEvery bounds how often what moves all the time and changes nothing is published.
const publishEvery = time.Second

// publishSoon has the state published within publishEvery, with whatever else comes until then.
func (e *Engine) publishSoon() {
	if key := (dueKey{what: "publish"}); e.due[key].IsZero() {
		e.at(key, publishEvery)
	}
}

// fire does what is due.
func (e *Engine) fire() {
	for k, t := range e.due {
		if e.now.Before(t) {
			continue
		}
		delete(e.due, k)
		e.changed = e.changed || k.what != "prove" && k.what != "seen"
		switch l := e.linkNamed(k.key.Link); {
		case k.what == "prove":
			e.prove()
		case k.what == "seen":
			e.lookForTargets()
		case k.what == "lost":
			e.tellLost()
		case k.what == "findings":
			e.forgetCaptured()
		case k.what == "survey":
			e.survey()
		case l == nil:
		case k.what == "learned":
			e.takeLearned(l)
		case k.what == "staged":
			e.take(l, k.key)
			e.takeWhole(k.key.Family)
		case k.what == "quiet":
			e.endOfRIB(k.key)
		case k.what == "stale":
			e.dropStale(l, k.key.Family, "stale routes expired")
		case k.what == "sweep":
			e.moves[moveKey{l.number, k.key.Family}] = e.sequence
			e.moveFlows(e.sequence)
		case k.what == "held":
			e.release(l, k.key)
		case k.what == "refresh":
			e.saidAgain(l, k.key.Family, "refresh never ended")
		}
	}
}
