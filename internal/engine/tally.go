package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/track"
)

// Failovers counts what became of failures and drains, as the journal tells of it, since the daemon began or, where it took
// over, those before it. It is immutable.
type Failovers struct {
	Counts []FailoverCount // by link and cause
	Phases []PhaseCount    // by phase and cause
	Last   []LastFailover  // by link
	Lost   []LostCount     // by link
}

// FailoverCount is how many there were of a link for a cause.
type FailoverCount struct {
	Link  string
	Cause Cause
	Count uint64
}

// PhaseCount is a histogram of how long a phase took.
type PhaseCount struct {
	Phase string
	Cause Cause
	// Buckets has one count for each of PhaseBounds, of what took at most that and more than the bound before, and one more
	// for what took longer than all.
	Buckets []uint64
	Sum     time.Duration
}

// LastFailover is the latest of a link, as far as it is known.
type LastFailover struct {
	Link   string
	Cause  Cause
	Seen   time.Time
	Phases []Phase
	Lost   *track.Lost `json:",omitempty"` // nil: not counted, or not yet
}

// LostCount sums what was lost in failures of a link.
type LostCount struct {
	Link string
	track.Lost
}

// PhaseBounds are the bounds of the histograms' buckets.
func PhaseBounds() []time.Duration {
	const us, ms = time.Microsecond, time.Millisecond
	return []time.Duration{100 * us, 250 * us, 500 * us, ms, 2500 * us, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms,
		500 * ms, time.Second, 2500 * ms, 5 * time.Second, 10 * time.Second, 30 * time.Second}
}

// tally is the Failovers in the making.
type tally struct {
	counts map[failoverKey]uint64
	phases map[phaseKey]PhaseCount
	last   map[string]LastFailover
	lost   map[string]track.Lost
	view   *Failovers // nil: something has changed since
}

type failoverKey struct {
	link  string
	cause Cause
}

type phaseKey struct {
	phase string
	cause Cause
}

// newTally goes on with what was counted before; nil: nothing.
func newTally(f *Failovers) tally {
	t := tally{counts: map[failoverKey]uint64{}, phases: map[phaseKey]PhaseCount{}, last: map[string]LastFailover{}, lost: map[string]track.Lost{}}
	if f == nil {
		return t
	}
	for _, c := range f.Counts {
		t.counts[failoverKey{c.Link, c.Cause}] = c.Count
	}
	for _, p := range f.Phases {
		t.phases[phaseKey{p.Phase, p.Cause}] = p
	}
	for _, l := range f.Last {
		t.last[l.Link] = l
	}
	for _, l := range f.Lost {
		t.lost[l.Link] = l.Lost
	}
	return t
}

// failed counts a failure that the kernel has the answer to.
func (t *tally) failed(o *outage) {
	t.view = nil
	t.counts[failoverKey{o.link, o.cause}]++
}

// took takes phases of an outage, each of which is told once.
func (t *tally) took(o *outage, phases ...Phase) {
	t.view = nil
	for _, p := range phases {
		k := phaseKey{p.Name, o.cause}
		c := t.phases[k]
		c.Phase, c.Cause, c.Sum = p.Name, o.cause, c.Sum+p.After
		c.Buckets = slices.Clone(c.Buckets) // what was published stays as it is
		if c.Buckets == nil {
			c.Buckets = make([]uint64, len(PhaseBounds())+1)
		}
		i, _ := slices.BinarySearch(PhaseBounds(), p.After)
		c.Buckets[i]++
		t.phases[k] = c
	}
	l := t.lastOf(o)
	if l == nil {
		return
	}
	l.Phases = slices.Concat(l.Phases, phases)
	t.last[o.link] = *l
}

// losing takes what was lost in an outage.
func (t *tally) losing(o *outage, n track.Lost) {
	t.view = nil
	sum := t.lost[o.link]
	t.lost[o.link] = track.Lost{Probes: sum.Probes + n.Probes, Proofs: sum.Proofs + n.Proofs}
	if l := t.lastOf(o); l != nil {
		l.Lost = &n
		t.last[o.link] = *l
	}
}

// lastOf is the entry of an outage, which is a new one where it is the latest of its link; nil where another is later.
func (t *tally) lastOf(o *outage) *LastFailover {
	switch l, ok := t.last[o.link]; {
	case ok && l.Seen.After(o.seen):
		return nil
	case ok && l.Seen.Equal(o.seen) && l.Cause == o.cause:
		return &l
	}
	return &LastFailover{Link: o.link, Cause: o.cause, Seen: o.seen}
}

// keep forgets the links that there are no more.
func (t *tally) keep(names []string) {
	gone := func(link string) bool { return !slices.Contains(names, link) }
	t.view = nil
	maps.DeleteFunc(t.counts, func(k failoverKey, _ uint64) bool { return gone(k.link) })
	maps.DeleteFunc(t.last, func(link string, _ LastFailover) bool { return gone(link) })
	maps.DeleteFunc(t.lost, func(link string, _ track.Lost) bool { return gone(link) })
}

// publish gives what was counted, in order.
func (t *tally) publish() *Failovers {
	if t.view != nil {
		return t.view
	}
	f := &Failovers{}
	for k, n := range t.counts {
		f.Counts = append(f.Counts, FailoverCount{k.link, k.cause, n})
	}
	for _, p := range t.phases {
		f.Phases = append(f.Phases, p)
	}
	for _, l := range t.last {
		f.Last = append(f.Last, l)
	}
	for link, n := range t.lost {
		f.Lost = append(f.Lost, LostCount{link, n})
	}
	slices.SortFunc(f.Counts, func(a, b FailoverCount) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Cause, b.Cause))
	})
	slices.SortFunc(f.Phases, func(a, b PhaseCount) int { return cmp.Or(cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Cause, b.Cause)) })
	slices.SortFunc(f.Last, func(a, b LastFailover) int { return cmp.Compare(a.Link, b.Link) })
	slices.SortFunc(f.Lost, func(a, b LostCount) int { return cmp.Compare(a.Link, b.Link) })
	t.view = f
	return f
}

// maxPhases bounds the histograms: those of each phase for each cause.
const maxPhases = 64

// check says what no engine hands over.
func (f *Failovers) check() error {
	switch {
	case f == nil:
		return nil
	case len(f.Phases) > maxPhases || len(f.Counts) > 8*kstate.MaxLinks || len(f.Last) > kstate.MaxLinks || len(f.Lost) > kstate.MaxLinks:
		return fmt.Errorf("engine: counts of %d phases, %d causes and %d links", len(f.Phases), len(f.Counts), len(f.Last))
	}
	for _, p := range f.Phases {
		if len(p.Buckets) != len(PhaseBounds())+1 {
			return fmt.Errorf("engine: phase %s has %d buckets, want %d", p.Phase, len(p.Buckets), len(PhaseBounds())+1)
		}
	}
	return nil
}
