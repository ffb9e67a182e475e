package track

import (
	"testing"
	"time"
)

func TestObserve(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := Params{DownAfter: 3, UpAfter: 2, UpDelay: 5 * time.Second}
	steps := []struct {
		after         time.Duration
		good          bool
		down, changed bool
	}{
		{0, true, false, false},
		{1 * time.Second, false, false, false},
		{2 * time.Second, false, false, false},
		{3 * time.Second, true, false, false}, // two bad ones are not three
		{4 * time.Second, false, false, false},
		{5 * time.Second, false, false, false},
		{6 * time.Second, false, true, true},
		{7 * time.Second, true, true, false},  // one good one is not two
		{8 * time.Second, true, true, false},  // two, but only for a second
		{9 * time.Second, false, true, false}, // starts again
		{10 * time.Second, true, true, false},
		{15 * time.Second, true, false, true},
	}
	var s State
	if !s.Up() {
		t.Fatal("without evidence a track is down")
	}
	for i, step := range steps {
		var changed bool
		s, changed = s.Observe(start.Add(step.after), step.good, "test", p)
		if s.Down != step.down || changed != step.changed {
			t.Fatalf("step %d: down %v changed %v, want %v %v", i, s.Down, changed, step.down, step.changed)
		}
	}
	if want := start.Add(15 * time.Second); !s.Since.Equal(want) {
		t.Errorf("since %v, want %v", s.Since, want)
	}
}

func TestImmediate(t *testing.T) {
	now := time.Unix(0, 0)
	s, changed := State{}.Observe(now, false, "no carrier", Immediate())
	if !s.Down || !changed {
		t.Errorf("one bad observation: %+v", s)
	}
	s, changed = s.Observe(now, true, "carrier", Immediate())
	if s.Down || !changed {
		t.Errorf("one good observation: %+v", s)
	}
}
