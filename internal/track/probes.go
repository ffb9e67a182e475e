package track

import (
	"fmt"
	"slices"
	"time"
)

// ProbeParams are the rules by which the probes of a link are judged.
type ProbeParams struct {
	Quorum    int // targets that must be good; 0 is the majority
	DownAfter int // bad results in a row that make a target bad; 0 is 1
	UpAfter   int // good results in a row that make it good again; 0 is 1

	// Over the last Window results of a target, at most MaxLoss percent may be lost, and the mean of the others may
	// take MaxLatency. Where that is not so, each result counts as bad. 0 is no limit.
	Window     int
	MaxLoss    int
	MaxLatency time.Duration

	// Before the link is up again it must have been good for UpDelay. Going down less than FlapWindow after it came up
	// doubles that, up to MaxUpDelay; each FlapWindow that it stays up halves it again.
	UpDelay    time.Duration
	FlapWindow time.Duration
	MaxUpDelay time.Duration
}

// backoffBase is what is doubled where there is no up delay.
const backoffBase = time.Second

// ProbeResult is one probe of one target.
type ProbeResult struct {
	Target string
	OK     bool
	RTT    time.Duration // where OK
	Why    string        // where not
	At     time.Time     // where OK: when the answer arrived; zero: when it is told of
}

// Probes is the track of a link's probes: up while a quorum of targets is good. The zero value has no targets and is up.
// It is a value: Observe returns the next one and leaves the receiver alone.
//
// One target alone takes nothing down where the quorum is more than one, whatever the quorum: it is more likely that the
// target is dead than that the link is. So it takes two bad targets, also where the quorum asks for all, or for more than there
// are.
type Probes struct {
	State
	p       ProbeParams
	targets []Target
	metFrom time.Time // since when the quorum is met; zero if it is not
	level   int       // of the back-off: how often the up delay is doubled
	ups     int       // how often it came up
}

// NewProbes makes a track without evidence.
func NewProbes(p ProbeParams, targets []string) Probes {
	s := Probes{p: p}
	for _, t := range targets {
		s.targets = append(s.targets, Target{Name: t})
	}
	return s
}

// Set changes the rules and the targets. What is known of targets that stay is kept, and so is the back-off.
func (s Probes) Set(p ProbeParams, targets []string) Probes {
	old := s.targets
	s.p, s.targets = p, nil
	for _, name := range targets {
		t := Target{Name: name}
		if i := slices.IndexFunc(old, func(o Target) bool { return o.Name == name }); i >= 0 {
			t = old[i]
		}
		s.targets = append(s.targets, t)
	}
	if len(targets) == 0 {
		s.State, s.metFrom = State{}, time.Time{}
	}
	return s
}

// Targets is what is known of each target, in the order of the configuration.
func (s Probes) Targets() []Target { return slices.Clone(s.targets) }

// Quorum is how many targets must be good.
func (s Probes) Quorum() int {
	n := len(s.targets)
	if s.p.Quorum <= 0 {
		return min(n/2+1, n)
	}
	return min(s.p.Quorum, n)
}

// Good is how many targets are good. One without a result counts as good: without evidence nothing is taken down.
func (s Probes) Good() int {
	good := 0
	for _, t := range s.targets {
		if t.Up() {
			good++
		}
	}
	return good
}

// met reports whether the link is good by its targets.
func (s Probes) met() bool {
	quorum, good := s.Quorum(), s.Good()
	return good >= quorum || max(quorum, s.p.Quorum) > 1 && len(s.targets)-good < 2
}

// Observe takes a result that came at now; changed says that the link went up or down. Results of targets that are not
// configured (any more) are ignored.
func (s Probes) Observe(now time.Time, r ProbeResult) (next Probes, changed bool) {
	i := slices.IndexFunc(s.targets, func(t Target) bool { return t.Name == r.Target })
	if i < 0 {
		return s, false
	}
	s.targets = slices.Clone(s.targets)
	s.targets[i] = s.targets[i].observe(now, r, s.p)
	if !s.Seen {
		s.Seen, s.Since, s.Why = true, now, s.count()
	}
	return s.judge(now)
}

// judge goes up or down.
func (s Probes) judge(now time.Time) (next Probes, changed bool) {
	if !s.met() {
		s.metFrom = time.Time{}
		if s.Down {
			return s, false
		}
		s.flapped(now)
		s.Down, s.Since, s.Why = true, now, s.reason()
		return s, true
	}
	if s.metFrom.IsZero() {
		s.metFrom = now
	}
	if !s.Down || now.Sub(s.metFrom) < s.delay(s.level) {
		return s, false
	}
	s.Down, s.Since, s.Why = false, now, s.count()
	s.ups++
	return s, true
}

// flapped sets the back-off when the link goes down.
func (s *Probes) flapped(now time.Time) {
	s.level = s.decayed(now)
	if s.ups > 0 && now.Sub(s.Since) < s.p.FlapWindow {
		// Beyond the bound it would only take longer to come back from.
		if s.delay(s.level+1) > s.delay(s.level) {
			s.level++
		}
	}
}

// decayed is the level of the back-off at now.
func (s Probes) decayed(now time.Time) int {
	if s.Down || s.level == 0 || s.p.FlapWindow <= 0 {
		return s.level
	}
	return max(0, s.level-int(now.Sub(s.Since)/s.p.FlapWindow))
}

// delay is the up delay at a level of the back-off.
func (s Probes) delay(level int) time.Duration {
	d := s.p.UpDelay
	if level == 0 {
		return d
	}
	limit := max(s.p.MaxUpDelay, s.p.UpDelay)
	d = max(d, backoffBase)
	for ; level > 0 && d < limit; level-- {
		d *= 2
	}
	return min(d, limit)
}

// UpDelay is how long the link must be good before it is up again, with what flapping has added: now while it is down,
// else if it went down now.
func (s Probes) UpDelay(now time.Time) time.Duration { return s.delay(s.decayed(now)) }

// UpAt is when the link will be up again if nothing more happens; zero if it is up, or its targets are not good.
func (s Probes) UpAt() time.Time {
	if !s.Down || s.metFrom.IsZero() {
		return time.Time{}
	}
	return s.metFrom.Add(s.delay(s.level))
}

// count says how many targets are good.
func (s Probes) count() string {
	return fmt.Sprintf("%d of %d targets good, quorum %d", s.Good(), len(s.targets), s.Quorum())
}

// reason says what is wrong.
func (s Probes) reason() string {
	text := s.count()
	sep := ": "
	for _, t := range s.targets {
		if !t.Up() {
			text += sep + t.Name + " " + t.Why
			sep = ", "
		}
	}
	return text
}

// String is one word and why.
func (s Probes) String() string {
	switch {
	case len(s.targets) == 0:
		return "none"
	case s.Down && !s.metFrom.IsZero():
		return fmt.Sprintf("down (%s, up at %s)", s.count(), s.UpAt().Format(time.TimeOnly))
	}
	return s.State.String()
}
