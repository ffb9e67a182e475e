package track

import (
	"fmt"
	"slices"
	"time"
)

// Target is the track of one probe target.
type Target struct {
	Name string
	State
	RTT     time.Duration // of the last answer
	Good    time.Time     // when the last good answer arrived
	Loss    int           // percent of the window; 0 before it is full
	Latency time.Duration // mean of the answers in the window; 0 before it is full
	window  []sample
}

// sample is a result in the window.
type sample struct {
	ok  bool
	rtt time.Duration
}

// observe takes a result. The limits of loss and latency make a result bad that was good by itself; the counts are for
// all of them alike.
func (t Target) observe(now time.Time, r ProbeResult, p ProbeParams) Target {
	good, why := r.OK, r.Why
	if r.OK {
		t.RTT, why = r.RTT, fmt.Sprintf("answers in %v", round(r.RTT))
	}
	if p.Window > 0 {
		t.fill(sample{r.OK, r.RTT}, p.Window)
		switch {
		case p.MaxLoss > 0 && t.Loss > p.MaxLoss:
			good, why = false, fmt.Sprintf("loses %d%% of %d, at most %d%%", t.Loss, p.Window, p.MaxLoss)
		case p.MaxLatency > 0 && t.Latency > p.MaxLatency:
			good, why = false, fmt.Sprintf("takes %v, at most %v", round(t.Latency), p.MaxLatency)
		}
	} else {
		t.window, t.Loss, t.Latency = nil, 0, 0
	}
	if good {
		if t.Good = r.At; r.At.IsZero() {
			t.Good = now
		}
	}
	t.State, _ = t.State.Observe(now, good, why, Params{DownAfter: max(p.DownAfter, 1), UpAfter: max(p.UpAfter, 1)})
	return t
}

// fill takes a sample into the window, and measures where that is full.
func (t *Target) fill(s sample, size int) {
	t.window = append(slices.Clone(t.window), s)
	t.window = t.window[max(0, len(t.window)-size):]
	t.Loss, t.Latency = 0, 0
	if len(t.window) < size {
		return
	}
	lost, sum := 0, time.Duration(0)
	for _, s := range t.window {
		if !s.ok {
			lost++
			continue
		}
		sum += s.rtt
	}
	t.Loss = lost * 100 / size
	if lost < size {
		t.Latency = sum / time.Duration(size-lost)
	}
}

// String is the target's name, one word, and why.
func (t Target) String() string { return t.Name + " " + t.State.String() }

// round leaves what a person reads.
func round(d time.Duration) time.Duration {
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
