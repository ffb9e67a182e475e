package engine

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/flow"
	"bothways/internal/route"
	"bothways/internal/track"
)

func TestTally(t *testing.T) {
	const ms = time.Millisecond
	one := &outage{link: "er/primary", cause: CauseBFD, seen: time.Unix(100, 0)}
	two := &outage{link: "er/primary", cause: CauseDrain, seen: time.Unix(200, 0)}
	c := newTally(nil)
	c.failed(one)
	c.took(one, Phase{PhaseDetected, 150 * ms}, Phase{PhaseKernel, 100 * time.Microsecond})
	before := c.publish()
	if again := c.publish(); again != before {
		t.Error("published anew, and nothing has changed")
	}
	c.failed(two)
	c.took(two, Phase{PhaseKernel, 31 * time.Second})
	c.took(one, Phase{PhaseAnswered, 300 * ms}) // late: of one that is not the last any more
	c.losing(one, track.Lost{Probes: 7})
	c.losing(two, track.Lost{Probes: 1, Proofs: 2})
	got := c.publish()

	if len(before.Counts) != 1 || len(before.Phases) != 2 || before.Lost != nil {
		t.Errorf("what was published has changed: %+v", before)
	}
	if want := []FailoverCount{{"er/primary", CauseBFD, 1}, {"er/primary", CauseDrain, 1}}; !reflect.DeepEqual(got.Counts, want) {
		t.Errorf("%+v, want %+v", got.Counts, want)
	}
	buckets := map[string]int{} // phase and cause to the bucket that has a count
	for _, p := range got.Phases {
		for i, n := range p.Buckets {
			if n > 0 {
				buckets[p.Phase+" "+string(p.Cause)] = i
			}
		}
	}
	// 150 ms is over 100 ms; a bound is its own bucket's; what is longer than all has the last.
	if want := map[string]int{"detected bfd": 10, "kernel bfd": 0, "kernel drain": 17, "answered bfd": 11}; !reflect.DeepEqual(buckets, want) {
		t.Errorf("buckets %v, want %v", buckets, want)
	}
	last := LastFailover{Link: "er/primary", Cause: CauseDrain, Seen: two.seen, Phases: []Phase{{PhaseKernel, 31 * time.Second}}, Lost: &track.Lost{Probes: 1, Proofs: 2}}
	if !reflect.DeepEqual(got.Last, []LastFailover{last}) {
		t.Errorf("last %+v, want %+v", got.Last, last)
	}
	if want := []LostCount{{"er/primary", track.Lost{Probes: 8, Proofs: 2}}}; !reflect.DeepEqual(got.Lost, want) {
		t.Errorf("lost %+v, want %+v", got.Lost, want)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var carried Failovers
	if err := json.Unmarshal(text, &carried); err != nil || carried.check() != nil {
		t.Fatal(err, carried.check())
	}
	next := newTally(&carried)
	if again := next.publish(); !reflect.DeepEqual(again.Counts, got.Counts) || !reflect.DeepEqual(again.Phases, got.Phases) || len(again.Last) != 1 {
		t.Errorf("%+v was carried over as %+v", got, again)
	}
	next.keep([]string{"isp/main"})
	if f := next.publish(); len(f.Counts)+len(f.Last)+len(f.Lost) != 0 || len(f.Phases) == 0 {
		t.Errorf("of a link that is gone: %+v", f)
	}
	carried.Phases[0].Buckets = []uint64{1}
	if err := carried.check(); err == nil || !strings.Contains(err.Error(), "has 1 buckets, want 18") {
		t.Errorf("taken: %v", err)
	}
}

// TestFailoversAreCountedOnce has a failover with connections cut in both families, and compares the counts with the journal.
func TestFailoversAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startDetecting(t)
		defer f.end()
		now := time.Now()
		f.tell(BFDChanged{Key: keyPrimary, Why: "silence", Heard: now.Add(-150 * time.Millisecond)})
		for range 3 { // the kernel says again and again how far it is
			f.tell(Applied{Sequence: f.last().Sequence, At: now.Add(2 * time.Millisecond)})
		}
		for _, family := range route.Families() {
			f.tell(FlowsCut{flow.Mark{Family: family, Link: 1}, 7, now.Add(3 * time.Millisecond)})
		}
		got := f.engine.Snapshot().Failovers
		if len(got.Counts) != 1 || got.Counts[0] != (FailoverCount{"er/primary", CauseBFD, 1}) {
			t.Errorf("counted %+v", got.Counts)
		}
		for _, p := range got.Phases {
			sum := uint64(0)
			for _, n := range p.Buckets {
				sum += n
			}
			if sum != 1 {
				t.Errorf("phase %s was counted %d times", p.Phase, sum)
			}
		}
		if len(got.Last) != 1 || len(got.Last[0].Phases) != len(got.Phases) {
			t.Errorf("last %+v, phases %+v", got.Last, got.Phases)
		}
	})
}
