package fsm

import (
	"time"

	"bothways/internal/bfd/packet"
)

// remote is what the neighbor last said. All of it is forgotten after a detection time of silence.
type remote struct {
	state         packet.State
	diag          packet.Diag
	discriminator uint32
	minTx, minRx  time.Duration
	multiplier    uint8
	demand        bool
}

// forgotten is a neighbor that was not heard (RFC 5880, section 6.8.1).
func forgotten() remote { return remote{state: packet.Down, minRx: time.Microsecond} }

// timer is an interval of ours: what we announce, and what we go by until the neighbor has confirmed it.
type timer struct{ announced, used time.Duration }

// State is the machine. It is a value: every input returns the next one and leaves the receiver alone.
type State struct {
	p       Params
	state   packet.State
	diag    packet.Diag
	since   time.Time // of state
	verdict Verdict
	remote  remote

	tx, rx    timer
	poll      bool // a Poll Sequence is under way
	pollAgain bool // and something changed since it began

	last   time.Time // when the neighbor was last heard
	sent   time.Time // the packet that the next one is timed from
	next   time.Time // when it is due; zero for never
	jitter uint64
}

// New makes a machine that sends its first packet at now.
func New(p Params, now time.Time) State {
	s := State{p: p, state: packet.Down, since: now, remote: forgotten(), next: now, jitter: p.Seed}
	if p.AdminDown {
		s.state, s.diag, s.verdict = packet.AdminDown, packet.AdministrativelyDown, Administrative
	}
	slow := max(p.Interval, slowest)
	s.tx, s.rx = timer{slow, slow}, timer{p.MinReceive, p.MinReceive}
	return s
}

// Params returns what we want of the session.
func (s *State) Params() Params { return s.p }

// Session is our state and since when.
func (s *State) Session() (packet.State, time.Time) { return s.state, s.since }

// Verdict is what the session says about the path.
func (s *State) Verdict() Verdict { return s.verdict }

// Diag is our reason for the last time that the session left Up; none while it is Up.
func (s *State) Diag() packet.Diag { return s.diag }

// Remote is what the neighbor last said of itself. Down and no diagnostic if it is not heard.
func (s *State) Remote() (packet.State, packet.Diag) { return s.remote.state, s.remote.diag }

// Heard is when the neighbor was last heard; zero for never.
func (s *State) Heard() time.Time { return s.last }

// Interval is at which we send, before jitter: the slower of what we want and what the neighbor can take; 0 while it
// wants nothing (RFC 5880, section 6.8.7).
func (s *State) Interval() time.Duration {
	if s.remote.minRx == 0 || s.remote.demand && s.state == packet.Up && s.remote.state == packet.Up && !s.poll {
		return 0
	}
	return max(s.tx.used, s.remote.minRx)
}

// Detection is after which silence the neighbor counts as lost (RFC 5880, section 6.8.4); 0 if it was not heard.
func (s *State) Detection() time.Duration {
	return time.Duration(s.remote.multiplier) * max(s.rx.used, s.remote.minTx)
}

// Next is when Tick is due, or zero for never.
func (s *State) Next() time.Time {
	d := s.expiry()
	if d.IsZero() || !s.next.IsZero() && s.next.Before(d) {
		return s.next
	}
	return d
}

// expiry is when the silence will have been too long. It also runs while the session is not up, because the neighbor's
// discriminator must be forgotten (RFC 5880, section 6.8.1).
func (s *State) expiry() time.Time {
	if s.remote.discriminator == 0 {
		return time.Time{}
	}
	return s.last.Add(s.Detection())
}

// schedule sets when the next packet is due: an interval behind the last one, less 0 to 25 percent, or 10 to 25 percent
// where the neighbor may not miss a single packet (RFC 5880, section 6.8.7).
func (s *State) schedule() {
	i := s.Interval()
	if i == 0 {
		s.next = time.Time{}
		return
	}
	most, least := int64(250), int64(0)
	if s.p.Multiplier == 1 {
		least = 100
	}
	off := least + int64(s.random()%uint64(most-least+1))
	s.next = s.sent.Add(i - time.Duration(int64(i)/1000*off))
}

// random gives the next number of the jitter, by splitmix64.
func (s *State) random() uint64 {
	s.jitter += 0x9e3779b97f4a7c15
	z := s.jitter
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// packet is what we say now.
func (s *State) packet() packet.Control {
	return packet.Control{
		Diag: s.diag, State: s.state, Poll: s.poll,
		Multiplier: s.p.Multiplier, MyDiscriminator: s.p.Discriminator, YourDiscriminator: s.remote.discriminator,
		DesiredMinTx: s.tx.announced, RequiredMinRx: s.rx.announced,
	}
}
