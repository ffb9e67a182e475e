package session

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/bfd/fsm"
	"bothways/internal/bfd/packet"
)

// origin is where a packet without our discriminator comes from.
type origin struct {
	index int
	addr  netip.Addr // without a zone
}

// loop is the goroutine of all sessions.
type loop struct {
	s               *Speaker
	wake            int
	receivers       [2]*receiver // IPv4, IPv6
	listenAt        time.Time    // when to try again to listen; zero for never
	listenErr       [2]string    // by family
	sessions        []*session
	byDiscriminator map[uint32]*session
	byOrigin        map[origin]*session

	take    func(*datagram) // received, as a value that is made once
	fds     [3]unix.PollFd
	timeout unix.Timespec
}

func newLoop(s *Speaker, wake int) *loop {
	l := &loop{s: s, wake: wake, byDiscriminator: map[uint32]*session{}}
	l.take = l.received
	l.s.sessions.Store(&l.sessions)
	return l
}

// run goes on until ending is set, and carries out what was Set by then.
func (l *loop) run(ending *atomic.Bool) error {
	defer l.close()
	for {
		last := ending.Load()
		now := time.Now()
		if want := l.s.want.Swap(nil); want != nil {
			l.set(*want, now)
		}
		if last {
			return nil
		}
		l.open(now)
		if err := l.wait(time.Until(l.next())); err != nil {
			return err
		}
		l.turn()
	}
}

// turn takes what has come, and only then looks who is silent.
func (l *loop) turn() {
	for _, r := range l.receivers {
		if r != nil {
			r.drain(l.take)
		}
	}
	now := time.Now()
	for _, x := range l.sessions {
		next := x.machine.Next()
		if next.IsZero() || next.After(now) {
			continue
		}
		if late := int64(now.Sub(next)); late > l.s.latest.Load() && x.socket.fd >= 0 {
			l.s.latest.Store(late)
		}
		m, out := x.machine.Tick(now)
		l.did(x, m, &out, now)
	}
}

func (l *loop) did(x *session, m fsm.State, out *fsm.Output, now time.Time) {
	if x.did(m, out, now) {
		l.tell()
	}
}

// tell wakes who has the time to talk.
func (l *loop) tell() {
	select {
	case l.s.events <- struct{}{}:
	default:
	}
}

// received takes one datagram.
func (l *loop) received(d *datagram) {
	c, why := packet.Decode(d.data)
	if why == packet.Accepted && d.ttl != 255 {
		why = packet.BadTTL // RFC 5881, section 5
	}
	var x *session
	if why == packet.Accepted {
		if c.YourDiscriminator != 0 {
			if x = l.byDiscriminator[c.YourDiscriminator]; x == nil {
				why = packet.UnknownDiscriminator
			} else if x.socket.index != d.index {
				why = packet.WrongInterface
			}
		} else if x = l.byOrigin[origin{d.index, d.source}]; x == nil {
			why = packet.UnknownNeighbor
		}
	}
	l.s.discards[why].Add(1)
	if why != packet.Accepted {
		return
	}
	x.received.Add(1)
	x.heard.Store(d.at.UnixNano())
	m, out := x.machine.Receive(d.at, &c)
	l.did(x, m, &out, time.Now())
}

// next is when there is something to do.
func (l *loop) next() time.Time {
	next := l.listenAt
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, x := range l.sessions {
		sooner(x.machine.Next())
		sooner(x.retry)
	}
	if next.IsZero() {
		return time.Now().Add(time.Hour)
	}
	return next
}

// wait waits for a packet, a word from Set, or the time.
func (l *loop) wait(d time.Duration) error {
	l.fds = [3]unix.PollFd{{Fd: int32(l.wake), Events: unix.POLLIN}, {Fd: -1}, {Fd: -1}}
	for i, r := range l.receivers {
		if r != nil {
			l.fds[i+1] = unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN}
		}
	}
	l.timeout = unix.NsecToTimespec(int64(max(d, 0)))
	if _, err := unix.Ppoll(l.fds[:], &l.timeout, nil); err != nil && err != unix.EINTR && err != unix.EAGAIN {
		return fmt.Errorf("bfd: wait: %w", err)
	}
	if l.fds[0].Revents != 0 {
		calm(l.wake)
	}
	return nil
}

// set makes the sessions those of the list, which is sorted by name.
func (l *loop) set(list []Config, now time.Time) {
	old := map[string]*session{}
	for _, x := range l.sessions {
		old[x.cfg.Name] = x
	}
	var all []*session
	for _, cfg := range list {
		x := old[cfg.Name]
		if x != nil && x.cfg.same(cfg) {
			delete(old, cfg.Name)
			x.cfg = cfg
			m, out := x.machine.Set(now, cfg.params())
			l.did(x, m, &out, now)
		} else {
			x = newSession(cfg, l.discriminator(), rand.Uint64(), now)
			x.publish()
			l.byDiscriminator[x.machine.Params().Discriminator] = x
		}
		all = append(all, x)
	}
	for _, x := range old {
		x.end(now)
		delete(l.byDiscriminator, x.machine.Params().Discriminator)
	}
	l.sessions = all
	l.s.sessions.Store(&all)
	l.listenAt = now
	l.index()
}

// end says to the neighbor that the session is gone by an operator's wish.
func (x *session) end(now time.Time) {
	p := x.machine.Params()
	p.AdminDown = true
	if _, out := x.machine.Set(now, p); out.Send {
		x.send(&out.Packet, now)
	}
	x.socket.close()
}

func (l *loop) discriminator() uint32 {
	for {
		if d := rand.Uint32(); d != 0 && l.byDiscriminator[d] == nil {
			return d
		}
	}
}

// index maps packets that do not know our discriminator yet.
func (l *loop) index() {
	l.byOrigin = map[origin]*session{}
	for _, x := range l.sessions {
		if x.socket.fd >= 0 {
			l.byOrigin[origin{x.socket.index, x.cfg.Neighbor.WithZone("")}] = x
		}
	}
}

// open makes the sockets that are missing and can be made.
func (l *loop) open(now time.Time) {
	if !l.listenAt.IsZero() && !l.listenAt.After(now) {
		l.listen(now)
	}
	changed := false
	for _, x := range l.sessions {
		if x.retry.IsZero() || x.retry.After(now) {
			continue
		}
		opened := x.open(now)
		changed = changed || opened || x.socket.fd < 0
		x.publish()
		l.tell()
		if opened {
			m, out := x.machine.Resend(now)
			l.did(x, m, &out, now)
		}
	}
	if changed {
		l.index()
	}
}

// listen opens the receiving sockets of the families that have sessions, and closes those that have none.
func (l *loop) listen(now time.Time) {
	l.listenAt = time.Time{}
	for i := range l.receivers {
		needed := false
		for _, x := range l.sessions {
			needed = needed || family(x.cfg.Local) == i
		}
		switch r := l.receivers[i]; {
		case r != nil && !needed:
			r.close()
			l.receivers[i], l.listenErr[i] = nil, ""
		case r == nil && needed:
			r, err := listen(i == 0)
			if err != nil {
				l.listenAt, l.listenErr[i] = now.Add(time.Second), err.Error()
				continue
			}
			l.receivers[i], l.listenErr[i] = r, ""
		}
	}
	for _, x := range l.sessions {
		x.deaf = l.listenErr[family(x.cfg.Local)]
		x.publish()
	}
	l.tell()
}

// family is the place of a family in the loop's arrays.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func (l *loop) close() {
	for _, r := range l.receivers {
		if r != nil {
			r.close()
		}
	}
	for _, x := range l.sessions {
		x.socket.close()
	}
}
