package fsm

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"bothways/internal/bfd/packet"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

func params() Params {
	return Params{Interval: 50 * ms, MinReceive: 50 * ms, Multiplier: 3, Discriminator: 7, Seed: 1}
}

// machine drives a State.
type machine struct {
	t *testing.T
	State
	now time.Time
}

func newMachine(t *testing.T, p Params) *machine { return &machine{t, New(p, start), start} }

func (m *machine) take(input func(State) (State, Output)) Output {
	m.t.Helper()
	before := m.State
	next, out := input(m.State)
	again, _ := input(before)
	if !reflect.DeepEqual(before, m.State) || !reflect.DeepEqual(again, next) {
		m.t.Fatal("not a function of its inputs")
	}
	m.State = next
	return out
}

func (m *machine) hear(c packet.Control) Output {
	m.t.Helper()
	return m.take(func(s State) (State, Output) { return s.Receive(m.now, &c) })
}

func (m *machine) tick() Output {
	m.t.Helper()
	return m.take(func(s State) (State, Output) { return s.Tick(m.now) })
}

func (m *machine) set(change func(*Params)) Output {
	m.t.Helper()
	p := m.Params()
	change(&p)
	return m.take(func(s State) (State, Output) { return s.Set(m.now, p) })
}

// sleep goes to the next tick and does it.
func (m *machine) sleep() (time.Duration, Output) {
	m.t.Helper()
	next := m.Next()
	if next.IsZero() {
		m.t.Fatal("nothing to wait for")
	}
	d := next.Sub(m.now)
	m.now = next
	return d, m.tick()
}

// said is a packet of the neighbor.
func said(s packet.State, change ...func(*packet.Control)) packet.Control {
	c := packet.Control{State: s, Multiplier: 3, MyDiscriminator: 9, YourDiscriminator: 7, DesiredMinTx: 50 * ms, RequiredMinRx: 50 * ms}
	for _, f := range change {
		f(&c)
	}
	return c
}

func final(c *packet.Control) { c.Final = true }
func poll(c *packet.Control)  { c.Poll = true }

// to brings the machine to a state.
func (m *machine) to(s packet.State) {
	m.t.Helper()
	m.tick()
	switch s {
	case packet.AdminDown:
		m.set(func(p *Params) { p.AdminDown = true })
	case packet.Init:
		m.hear(said(packet.Down))
	case packet.Up:
		m.hear(said(packet.Init))
		m.hear(said(packet.Up, final)) // ends the Poll Sequence of the faster interval
	}
	if got, _ := m.Session(); got != s {
		m.t.Fatalf("in %v, want %v", got, s)
	}
}

// TestTransitions has every state of ours with every state of the neighbor (RFC 5880, section 6.2).
func TestTransitions(t *testing.T) {
	for _, tt := range []struct {
		we, neighbor, want packet.State
		diag               packet.Diag
		change             string
	}{
		{packet.Down, packet.AdminDown, packet.Down, 0, "admin-down: the neighbor is administratively down"},
		{packet.Down, packet.Down, packet.Init, 0, ""},
		{packet.Down, packet.Init, packet.Up, 0, "up: the neighbor hears us"},
		{packet.Down, packet.Up, packet.Down, 0, ""},
		{packet.Init, packet.AdminDown, packet.Down, packet.NeighborSignaledDown, "admin-down: the neighbor is administratively down"},
		{packet.Init, packet.Down, packet.Init, 0, ""},
		{packet.Init, packet.Init, packet.Up, 0, "up: the neighbor hears us"},
		{packet.Init, packet.Up, packet.Up, 0, "up: the neighbor hears us"},
		{packet.Up, packet.AdminDown, packet.Down, packet.NeighborSignaledDown, "admin-down: the neighbor is administratively down"},
		{packet.Up, packet.Down, packet.Down, packet.NeighborSignaledDown, "down: the neighbor signaled down: path down"},
		{packet.Up, packet.Init, packet.Up, 0, ""},
		{packet.Up, packet.Up, packet.Up, 0, ""},
		{packet.AdminDown, packet.AdminDown, packet.AdminDown, packet.AdministrativelyDown, ""},
		{packet.AdminDown, packet.Down, packet.AdminDown, packet.AdministrativelyDown, ""},
		{packet.AdminDown, packet.Init, packet.AdminDown, packet.AdministrativelyDown, ""},
		{packet.AdminDown, packet.Up, packet.AdminDown, packet.AdministrativelyDown, ""},
	} {
		t.Run(fmt.Sprintf("%v hears %v", tt.we, tt.neighbor), func(t *testing.T) {
			m := newMachine(t, params())
			m.to(tt.we)
			m.now = m.now.Add(10 * ms)
			out := m.hear(said(tt.neighbor, func(c *packet.Control) { c.Diag = packet.PathDown }))
			got, since := m.Session()
			if got != tt.want || m.Diag() != tt.diag {
				t.Errorf("%v %v, want %v %v", got, m.Diag(), tt.want, tt.diag)
			}
			if changed := got != tt.we; changed != out.Send || changed != since.Equal(m.now) {
				t.Errorf("sent %v since %v", out.Send, since)
			}
			if out.Send && (out.Packet.State != tt.want || out.Packet.YourDiscriminator != 9 || out.Packet.MyDiscriminator != 7) {
				t.Errorf("said %+v", out.Packet)
			}
			change := ""
			if out.Changed {
				change = out.Change.Verdict.String() + ": " + out.Change.Reason
			}
			if change != tt.change {
				t.Errorf("%q, want %q", change, tt.change)
			}
		})
	}
}

func TestSlowUntilUp(t *testing.T) {
	m := newMachine(t, params())
	if d, out := m.sleep(); d != 0 || !out.Send || out.Packet.State != packet.Down || out.Packet.YourDiscriminator != 0 ||
		out.Packet.DesiredMinTx != time.Second || out.Packet.RequiredMinRx != 50*ms || out.Packet.Poll {
		t.Errorf("first packet after %v: %+v", d, out.Packet)
	}
	for range 50 {
		if d, out := m.sleep(); d < 750*ms || d > time.Second || !out.Send {
			t.Errorf("next after %v", d)
		}
	}
	m.hear(said(packet.Down))
	if m.Interval() != time.Second {
		t.Error(m.Interval())
	}
	out := m.hear(said(packet.Init))
	if !out.Packet.Poll || out.Packet.DesiredMinTx != 50*ms || m.Interval() != 50*ms {
		t.Errorf("once up: every %v, %+v", m.Interval(), out.Packet)
	}
	m.hear(said(packet.Up, final))
	if _, out := m.sleep(); out.Packet.Poll {
		t.Error("polls on")
	}
	out = m.hear(said(packet.Down))
	if out.Packet.DesiredMinTx != time.Second || m.Interval() != time.Second || out.Packet.Diag != packet.NeighborSignaledDown {
		t.Errorf("down again: every %v, %+v", m.Interval(), out.Packet)
	}
}

func TestSlowByWish(t *testing.T) {
	p := params()
	p.Interval = 5 * time.Second
	m := newMachine(t, p)
	if _, out := m.sleep(); out.Packet.DesiredMinTx != 5*time.Second {
		t.Errorf("%+v", out.Packet)
	}
	m.hear(said(packet.Down))
	if out := m.hear(said(packet.Init)); out.Packet.Poll {
		t.Error("polls without a change")
	}
}

func TestNegotiation(t *testing.T) {
	for _, tt := range []struct {
		name                string
		ours                Params
		neighborTx          time.Duration
		neighborRx          time.Duration
		multiplier          uint8
		interval, detection time.Duration
	}{
		{"equal", Params{Interval: 50 * ms, MinReceive: 50 * ms}, 50 * ms, 50 * ms, 3, 50 * ms, 150 * ms},
		{"the neighbor receives slower", Params{Interval: 50 * ms, MinReceive: 50 * ms}, 50 * ms, 300 * ms, 3, 300 * ms, 150 * ms},
		{"the neighbor sends slower", Params{Interval: 50 * ms, MinReceive: 50 * ms}, 300 * ms, 50 * ms, 3, 50 * ms, 900 * ms},
		{"the neighbor is slower", Params{Interval: 300 * ms, MinReceive: 300 * ms}, 750 * ms, 750 * ms, 3, 750 * ms, 2250 * ms},
		{"we are slower", Params{Interval: 300 * ms, MinReceive: 300 * ms}, 50 * ms, 50 * ms, 5, 300 * ms, 1500 * ms},
		{"its multiplier counts, not ours", Params{Interval: 10 * ms, MinReceive: 10 * ms}, 10 * ms, 10 * ms, 1, 10 * ms, 10 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.ours.Multiplier, tt.ours.Discriminator = 3, 7
			m := newMachine(t, tt.ours)
			neighbor := func(c *packet.Control) {
				c.DesiredMinTx, c.RequiredMinRx, c.Multiplier = tt.neighborTx, tt.neighborRx, tt.multiplier
			}
			m.tick()
			m.hear(said(packet.Init, neighbor))
			m.hear(said(packet.Up, neighbor, final))
			if m.Interval() != tt.interval || m.Detection() != tt.detection {
				t.Errorf("every %v, detection %v; want %v %v", m.Interval(), m.Detection(), tt.interval, tt.detection)
			}
		})
	}
}

func TestJitter(t *testing.T) {
	for _, tt := range []struct {
		multiplier uint8
		low, high  time.Duration
	}{{3, 75 * ms, 100 * ms}, {1, 75 * ms, 90 * ms}} {
		p := params()
		p.Interval, p.Multiplier = 100*ms, tt.multiplier
		m := newMachine(t, p)
		m.to(packet.Up)
		shortest, longest := time.Hour, time.Duration(0)
		for range 2000 {
			m.hear(said(packet.Up))
			before := m.sent
			m.sleep()
			d := m.sent.Sub(before)
			shortest, longest = min(shortest, d), max(longest, d)
		}
		if shortest < tt.low || longest > tt.high {
			t.Errorf("multiplier %d: %v to %v", tt.multiplier, shortest, longest)
		}
		if shortest > tt.low+ms || longest < tt.high-ms {
			t.Errorf("multiplier %d: %v to %v does not use the range", tt.multiplier, shortest, longest)
		}
	}
}

func TestJitterFollowsTheSeed(t *testing.T) {
	series := func(seed uint64) (out []time.Duration) {
		p := params()
		p.Seed = seed
		m := newMachine(t, p)
		for range 10 {
			d, _ := m.sleep()
			out = append(out, d)
		}
		return out
	}
	if !reflect.DeepEqual(series(1), series(1)) || reflect.DeepEqual(series(1), series(2)) {
		t.Error("the jitter is not that of the seed")
	}
}

// expire lets the neighbor be silent until the machine says so.
func (m *machine) expire() Output {
	m.t.Helper()
	for range 1000 {
		if _, out := m.sleep(); out.Changed {
			return out
		}
	}
	m.t.Fatal("silence is not found")
	return Output{}
}

func TestSilence(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	m.now = m.now.Add(40 * ms)
	m.hear(said(packet.Up))
	heard := m.now
	out := m.expire()
	want := Change{Verdict: Failed, Reason: "nothing from the neighbor in 150ms", Last: heard, Detection: 150 * ms, Due: heard.Add(150 * ms)}
	if out.Change != want || !m.now.Equal(want.Due) {
		t.Errorf("%v: %+v", m.now.Sub(heard), out.Change)
	}
	if !out.Send || out.Packet.Diag != packet.DetectionTimeExpired || out.Packet.YourDiscriminator != 0 || out.Packet.DesiredMinTx != time.Second || out.Packet.Poll {
		t.Errorf("said %+v", out.Packet)
	}
	if d, out := m.sleep(); d < 750*ms || out.Changed {
		t.Errorf("goes on after %v: %+v", d, out)
	}
}

// TestLateTick: a loop that was held up says when it could have known.
func TestLateTick(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	heard := m.now
	m.now = m.now.Add(time.Second)
	if out := m.tick(); !out.Changed || !out.Change.Due.Equal(heard.Add(150*ms)) {
		t.Errorf("%+v", out.Change)
	}
}

func TestSilenceInInit(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Init)
	m.now = m.now.Add(150 * ms)
	out := m.tick()
	if s, _ := m.Session(); s != packet.Down || out.Changed || m.Diag() != packet.DetectionTimeExpired {
		t.Errorf("%v %+v", s, out)
	}
}

// TestForgets: a neighbor that restarts comes with another discriminator (RFC 5880, section 6.8.1).
func TestForgets(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	m.hear(said(packet.Down))
	m.now = m.now.Add(150 * ms)
	m.tick()
	if m.remote != forgotten() {
		t.Errorf("%+v", m.remote)
	}
	if out := m.hear(said(packet.Down, func(c *packet.Control) { c.MyDiscriminator, c.YourDiscriminator = 10, 0 })); out.Packet.YourDiscriminator != 10 {
		t.Errorf("%+v", out.Packet)
	}
}

func TestPollIsAnswered(t *testing.T) {
	for _, state := range []packet.State{packet.Down, packet.Init, packet.Up} {
		m := newMachine(t, params())
		m.to(state)
		next := m.Next()
		hears := map[packet.State]packet.State{packet.Down: packet.Up, packet.Init: packet.Down, packet.Up: packet.Up}[state]
		out := m.hear(said(hears, poll))
		if !out.Send || !out.Packet.Final || out.Packet.Poll || out.Packet.State != state {
			t.Errorf("%v: %+v", state, out)
		}
		if state == packet.Up && !m.Next().Equal(next) {
			t.Errorf("%v: the answer moves the next packet from %v to %v", state, next, m.Next())
		}
	}
	m := newMachine(t, params())
	m.to(packet.AdminDown)
	if out := m.hear(said(packet.Up, poll)); out.Send {
		t.Error("answers while administratively down")
	}
}

// TestPollThatBringsUp: the answer to a Poll cannot be a Poll, so ours follows at once.
func TestPollThatBringsUp(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Init)
	out := m.hear(said(packet.Up, poll))
	if !out.Packet.Final || out.Packet.State != packet.Up || out.Packet.DesiredMinTx != 50*ms {
		t.Errorf("%+v", out.Packet)
	}
	if d, out := m.sleep(); d != 0 || !out.Packet.Poll || out.Packet.Final {
		t.Errorf("after %v: %+v", d, out.Packet)
	}
}

func TestSlowerByPoll(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	out := m.set(func(p *Params) { p.Interval, p.MinReceive = 300*ms, 300*ms })
	if !out.Send || !out.Packet.Poll || out.Packet.DesiredMinTx != 300*ms || out.Packet.RequiredMinRx != 300*ms {
		t.Errorf("%+v", out)
	}
	// The neighbor still expects 50 ms, but may take 300 ms for itself as soon as it has heard.
	if m.Interval() != 50*ms || m.Detection() != 900*ms {
		t.Errorf("before the answer: every %v, detection %v", m.Interval(), m.Detection())
	}
	if _, out := m.sleep(); !out.Packet.Poll {
		t.Error("polls once only")
	}
	m.hear(said(packet.Up, final))
	if m.Interval() != 300*ms || m.Detection() != 900*ms {
		t.Errorf("after: every %v, detection %v", m.Interval(), m.Detection())
	}
	if s, _ := m.Session(); s != packet.Up {
		t.Error(s)
	}
}

func TestFasterByPoll(t *testing.T) {
	p := params()
	p.Interval, p.MinReceive = 300*ms, 300*ms
	m := newMachine(t, p)
	m.to(packet.Up)
	m.set(func(p *Params) { p.Interval, p.MinReceive = 50*ms, 50*ms })
	if m.Interval() != 50*ms || m.Detection() != 900*ms {
		t.Errorf("before the answer: every %v, detection %v", m.Interval(), m.Detection())
	}
	m.hear(said(packet.Up, final))
	if m.Interval() != 50*ms || m.Detection() != 150*ms {
		t.Errorf("after: every %v, detection %v", m.Interval(), m.Detection())
	}
}

// TestChangeDuringPoll: an answer to the first question says nothing about the second.
func TestChangeDuringPoll(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	m.set(func(p *Params) { p.Interval = 100 * ms })
	m.set(func(p *Params) { p.Interval = 200 * ms })
	m.hear(said(packet.Up, final))
	if _, out := m.sleep(); m.Interval() != 50*ms || !out.Packet.Poll {
		t.Errorf("every %v after the first answer: %+v", m.Interval(), out.Packet)
	}
	m.hear(said(packet.Up, final))
	if m.Interval() != 200*ms || m.packet().Poll {
		t.Errorf("every %v after the second", m.Interval())
	}
}

func TestFinalWithoutPoll(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	if out := m.hear(said(packet.Up, final)); out.Send || out.Changed {
		t.Errorf("%+v", out)
	}
}

func TestMultiplier(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	if out := m.set(func(p *Params) { p.Multiplier = 5 }); !out.Send || out.Packet.Multiplier != 5 || out.Packet.Poll {
		t.Errorf("%+v", out)
	}
	if out := m.set(func(*Params) {}); out.Send {
		t.Error("says something where nothing changed")
	}
}

// TestNeighborSlower: what the neighbor changes while Up holds at once.
func TestNeighborSlower(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	next := m.Next()
	out := m.hear(said(packet.Up, poll, func(c *packet.Control) { c.DesiredMinTx, c.RequiredMinRx = 750*ms, 750*ms }))
	if m.Interval() != 750*ms || m.Detection() != 2250*ms || !out.Packet.Final {
		t.Errorf("every %v, detection %v", m.Interval(), m.Detection())
	}
	if d := m.Next().Sub(next); d < 400*ms {
		t.Errorf("next packet only %v later", d)
	}
	m.hear(said(packet.Up, func(c *packet.Control) { c.DesiredMinTx, c.RequiredMinRx = 50*ms, 50*ms }))
	if d := m.Next().Sub(m.now); d > 50*ms {
		t.Errorf("faster again, but next packet in %v", d)
	}
}

func TestNeighborWantsNothing(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	m.hear(said(packet.Up, func(c *packet.Control) { c.RequiredMinRx = 0 }))
	if m.Interval() != 0 || !m.next.IsZero() {
		t.Errorf("sends every %v", m.Interval())
	}
	if out := m.hear(said(packet.Up, poll, func(c *packet.Control) { c.RequiredMinRx = 0 })); !out.Packet.Final {
		t.Error("a poll is not answered")
	}
	if out := m.expire(); out.Change.Verdict != Failed {
		t.Errorf("%+v", out.Change)
	}
}

func TestNeighborInDemandMode(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	demand := func(c *packet.Control) { c.Demand = true }
	m.hear(said(packet.Up, demand))
	if m.Interval() != 0 {
		t.Error("sends to a neighbor that wants to be left alone")
	}
	m.set(func(p *Params) { p.Interval = 100 * ms })
	if m.Interval() == 0 {
		t.Error("does not poll")
	}
	m.hear(said(packet.Up, demand, final))
	if m.Interval() != 0 {
		t.Error("goes on after the poll")
	}
}

func TestAdminDown(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	out := m.set(func(p *Params) { p.AdminDown = true })
	if !out.Send || out.Packet.State != packet.AdminDown || out.Packet.Diag != packet.AdministrativelyDown || out.Change.Verdict != Administrative {
		t.Errorf("%+v", out)
	}
	if d, out := m.sleep(); d > 150*ms || out.Changed { // only the neighbor's discriminator is forgotten
		t.Errorf("after %v: %+v", d, out)
	}
	if d, out := m.sleep(); d < 500*ms || !out.Send || out.Packet.State != packet.AdminDown {
		t.Errorf("after %v: %+v", d, out)
	}
	out = m.set(func(p *Params) { p.AdminDown = false })
	if s, _ := m.Session(); s != packet.Down || !out.Send || out.Changed {
		t.Errorf("%v %+v", s, out)
	}
	if out := m.hear(said(packet.Init)); out.Change.Verdict != Up {
		t.Errorf("%+v", out.Change)
	}
}

func TestStartsAdminDown(t *testing.T) {
	p := params()
	p.AdminDown = true
	m := newMachine(t, p)
	if _, out := m.sleep(); out.Packet.State != packet.AdminDown || m.Verdict() != Administrative {
		t.Errorf("%+v", out.Packet)
	}
}

// TestVerdicts follows what a session says about the path through a life.
func TestVerdicts(t *testing.T) {
	m := newMachine(t, params())
	var got []string
	note := func(out Output) {
		if out.Changed {
			got = append(got, out.Change.Verdict.String())
		}
	}
	note(m.tick())
	note(m.hear(said(packet.Init)))
	m.now = m.now.Add(time.Second)
	note(m.tick())
	note(m.hear(said(packet.AdminDown))) // failed, and then the neighbor's operator says that it is meant
	note(m.hear(said(packet.AdminDown)))
	note(m.hear(said(packet.Down)))
	note(m.hear(said(packet.Up)))
	note(m.hear(said(packet.Down, func(c *packet.Control) { c.Diag = packet.AdministrativelyDown })))
	note(m.hear(said(packet.Init)))
	note(m.hear(said(packet.Down)))
	note(m.hear(said(packet.Down)))
	note(m.hear(said(packet.Up)))
	want := "up down admin-down up admin-down up down up"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
}

func TestCheck(t *testing.T) {
	for want, change := range map[string]func(*Params){
		"":                                     func(*Params) {},
		"discriminator is 0":                   func(p *Params) { p.Discriminator = 0 },
		"multiplier is 0":                      func(p *Params) { p.Multiplier = 0 },
		"interval is 10µs, want 1ms to 1m":     func(p *Params) { p.Interval = 10 * time.Microsecond },
		"minimum receive interval is 0s, want": func(p *Params) { p.MinReceive = 0 },
	} {
		p := params()
		change(&p)
		if err := p.Check(); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestNoGarbage(t *testing.T) {
	m := newMachine(t, params())
	m.to(packet.Up)
	c := said(packet.Up)
	s := m.State
	if n := testing.AllocsPerRun(1000, func() {
		m.now = m.now.Add(40 * ms)
		s, _ = s.Receive(m.now, &c)
		s, _ = s.Tick(m.now)
	}); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}
