package fsm

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"bothways/internal/bfd/packet"
)

// pair is two machines with a wire between them, in time that is made up.
type pair struct {
	now   time.Time
	ends  [2]State
	wire  []flight
	delay time.Duration
	lose  func(from int) bool
	down  [2]int // verdicts other than up, after an up
}

type flight struct {
	at time.Time
	to int
	c  packet.Control
}

func newPair(a, b Params) *pair {
	a.Discriminator, b.Discriminator = 1, 2
	return &pair{now: start, ends: [2]State{New(a, start), New(b, start)}, delay: time.Millisecond, lose: func(int) bool { return false }}
}

func (p *pair) did(i int, s State, out Output) {
	p.ends[i] = s
	if out.Changed && out.Change.Verdict != Up {
		p.down[i]++
	}
	if out.Send && !p.lose(i) {
		p.wire = append(p.wire, flight{p.now.Add(p.delay), 1 - i, out.Packet})
	}
}

// step goes to what comes next, and does it.
func (p *pair) step() {
	next := time.Time{}
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for i := range p.ends {
		sooner(p.ends[i].Next())
	}
	for _, f := range p.wire {
		sooner(f.at)
	}
	p.now = next
	for len(p.wire) > 0 && !p.wire[0].at.After(p.now) {
		f := p.wire[0]
		p.wire = p.wire[1:]
		s, out := p.ends[f.to].Receive(p.now, &f.c)
		p.did(f.to, s, out)
	}
	for i := range p.ends {
		if n := p.ends[i].Next(); !n.IsZero() && !n.After(p.now) {
			s, out := p.ends[i].Tick(p.now)
			p.did(i, s, out)
		}
	}
}

func (p *pair) run(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); {
		p.step()
	}
}

func (p *pair) up() bool {
	return p.ends[0].state == packet.Up && p.ends[1].state == packet.Up
}

// TestPair: two machines come up, keep what they agreed on through any change of timers, and find silence in time.
func TestPair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wish := rapid.Custom(func(t *rapid.T) Params {
			return Params{
				Interval:   rapid.SampledFrom([]time.Duration{10 * ms, 50 * ms, 300 * ms, 750 * ms, 2 * time.Second}).Draw(t, "interval"),
				MinReceive: rapid.SampledFrom([]time.Duration{10 * ms, 50 * ms, 300 * ms, 750 * ms, 2 * time.Second}).Draw(t, "receive"),
				Multiplier: uint8(rapid.IntRange(2, 5).Draw(t, "multiplier")), Seed: rapid.Uint64().Draw(t, "seed"),
			}
		})
		p := newPair(wish.Draw(t, "a"), wish.Draw(t, "b"))
		p.run(5 * time.Second)
		if !p.up() {
			t.Fatal("not up in 5 s")
		}
		for range 5 {
			i := rapid.IntRange(0, 1).Draw(t, "end")
			s, out := p.ends[i].Set(p.now, wish.Draw(t, "change"))
			p.did(i, s, out)
			p.run(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * ms)
		}
		p.run(10 * time.Second)
		if p.down != [2]int{} || !p.up() {
			t.Fatalf("a change of timers took the session down: %v", p.down)
		}
		for i := range p.ends {
			a, b := &p.ends[i], &p.ends[1-i]
			if a.poll || a.tx.used != a.p.Interval || a.rx.used != a.p.MinReceive {
				t.Fatalf("poll %v, %+v %+v, wanted %+v", a.poll, a.tx, a.rx, a.p)
			}
			if want := max(a.p.Interval, b.p.MinReceive); a.Interval() != want {
				t.Fatalf("sends every %v, want %v", a.Interval(), want)
			}
			if want := time.Duration(b.p.Multiplier) * max(b.p.Interval, a.p.MinReceive); a.Detection() != want {
				t.Fatalf("detection time %v, want %v", a.Detection(), want)
			}
		}
		cut := p.now
		p.lose = func(int) bool { return true }
		for range 2 {
			longest := max(p.ends[0].Detection(), p.ends[1].Detection())
			p.run(longest)
		}
		for i := range p.ends {
			if p.ends[i].verdict != Failed || p.ends[i].since.After(cut.Add(p.delay+20*time.Second)) {
				t.Fatalf("end %d: %v since %v", i, p.ends[i].verdict, p.ends[i].since)
			}
		}
		p.lose = func(int) bool { return false }
		p.run(5 * time.Second)
		if !p.up() {
			t.Fatal("does not come back")
		}
	})
}

// TestPairLossy: with a share of packets lost, also of Polls and Finals, what is agreed on is reached.
func TestPairLossy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := params(), params()
		a.Multiplier, b.Multiplier = 20, 20
		p := newPair(a, b)
		lost := rapid.SliceOfN(rapid.IntRange(0, 9), 997, 997).Draw(t, "lost")
		n := 0
		p.lose = func(int) bool { n++; return lost[n%len(lost)] < 3 }
		p.run(10 * time.Second)
		want := 300 * ms
		s, out := p.ends[0].Set(p.now, Params{Interval: want, MinReceive: want, Multiplier: 20})
		p.did(0, s, out)
		p.run(10 * time.Second)
		if !p.up() || p.ends[0].Interval() != want || p.ends[1].Interval() != want {
			t.Fatalf("up %v, %v %v", p.up(), p.ends[0].Interval(), p.ends[1].Interval())
		}
	})
}
