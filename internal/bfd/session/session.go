package session

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/bfd/fsm"
	"bothways/internal/bfd/packet"
)

// retryOpen is how often a session that cannot send tries again.
const retryOpen = 500 * time.Millisecond

// session is one of the loop's. Only the loop touches it, but for the atomic fields.
type session struct {
	cfg     Config
	machine fsm.State
	socket  sender
	retry   time.Time  // when to look at the socket again; zero for never
	errno   unix.Errno // of the last packet that did not leave
	waiting string     // why it cannot send
	deaf    string     // why it cannot hear
	reason  string
	flaps   int
	after   time.Duration // of the last failure

	status         atomic.Pointer[Status] // without the fields below
	sent, received atomic.Uint64
	heard          atomic.Int64 // when the last packet came, in ns since 1970
	event          atomic.Pointer[Event]

	waits string // the Waiting that was logged; notify's
}

func newSession(cfg Config, discriminator uint32, seed uint64, now time.Time) *session {
	p := cfg.params()
	p.Discriminator, p.Seed = discriminator, seed
	return &session{cfg: cfg, machine: fsm.New(p, now), socket: sender{fd: -1}, retry: now}
}

// report is the status for readers.
func (x *session) report() Status {
	st := *x.status.Load()
	st.Sent, st.Received = x.sent.Load(), x.received.Load()
	if ns := x.heard.Load(); ns != 0 {
		st.Heard = time.Unix(0, ns)
	}
	return st
}

// publish puts the status out if it is another one. It compares before it allocates: most packets change nothing.
func (x *session) publish() {
	m := &x.machine
	state, since := m.Session()
	remote, remoteDiag := m.Remote()
	st := Status{
		Config: x.cfg, State: state, Since: since, Verdict: m.Verdict(), Reason: x.reason, Waiting: x.waiting,
		Remote: remote, Diag: m.Diag(), RemoteDiag: remoteDiag, Transmit: m.Interval(), DetectionTime: m.Detection(),
		Discriminator: m.Params().Discriminator, Flaps: x.flaps, SourcePort: x.socket.port, LastFailedAfter: x.after,
	}
	if st.Waiting == "" {
		st.Waiting = x.deaf
	}
	st.RemoteKnown = st.DetectionTime > 0
	if was := x.status.Load(); was == nil || *was != st {
		x.store(st)
	}
}

// store is apart so that st is on the heap only here.
func (x *session) store(st Status) { x.status.Store(&st) }

// did takes what the machine wants. It reports whether the verdict has changed.
func (x *session) did(next fsm.State, out *fsm.Output, now time.Time) bool {
	x.machine = next
	if out.Send {
		x.send(&out.Packet, now)
	}
	if out.Changed {
		x.judged(out.Change, now)
	}
	x.publish()
	return out.Changed
}

func (x *session) judged(c fsm.Change, now time.Time) {
	x.reason = c.Reason
	var e Event
	if c.Verdict == fsm.Up {
		e = Up{Name: x.cfg.Name, At: now, Detection: c.Detection}
	} else {
		e = Down{Name: x.cfg.Name, Reason: c.Reason, Admin: c.Verdict == fsm.Administrative, At: now,
			Heard: c.Last, Detection: c.Detection, Due: c.Due}
	}
	if c.Verdict == fsm.Failed {
		x.flaps++
		x.after = now.Sub(c.Last)
	}
	x.event.Store(&e)
}

// send writes a packet. What cannot be sent is as good as lost on the wire; the socket is looked at when it goes on.
func (x *session) send(c *packet.Control, now time.Time) {
	if x.socket.fd < 0 {
		return
	}
	errno := x.socket.send(c.Encode())
	if errno == 0 {
		x.sent.Add(1)
		if x.errno != 0 {
			x.errno, x.waiting = 0, ""
		}
		return
	}
	if errno != x.errno {
		x.errno, x.waiting = errno, fmt.Sprintf("cannot send: %v", errno)
	}
	if x.retry.IsZero() {
		x.retry = now.Add(retryOpen)
	}
}

// open makes the socket where there is none, or where its interface is another one by now. It reports whether the
// session has a new one.
func (x *session) open(now time.Time) bool {
	x.retry = time.Time{}
	index, err := interfaceIndex(x.cfg.Interface)
	if x.socket.fd >= 0 {
		if err == nil && index == x.socket.index {
			return false
		}
		x.socket.close()
	}
	if err == nil {
		err = x.socket.open(&x.cfg, index)
	}
	if err != nil {
		x.retry = now.Add(retryOpen)
		if w := describe(err, &x.cfg); w != x.waiting {
			x.waiting = w
		}
		return false
	}
	x.waiting, x.errno = "", 0
	return true
}

// describe says what is missing.
func describe(err error, cfg *Config) string {
	switch {
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Sprintf("interface %s is missing", cfg.Interface)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Sprintf("address %v is not there", cfg.Local)
	}
	return err.Error()
}
