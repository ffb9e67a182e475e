package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// Handover is a session that stands, as one process hands it to another: all but its connection.
type Handover struct {
	Standing fsm.Standing
	Unread   []byte // the beginning of a message that has not come whole
	Unsent   []byte // messages that could not be written, the first maybe from its middle
	// Announced is what the neighbor was told. EndOfRIB and Refresh are families of which an End-of-RIB is due, and of
	// which the neighbor has asked for everything again.
	Announced         map[route.Family][]route.Announcement
	EndOfRIB, Refresh []route.Family
	// Again are families of which it is to be told everything again, for it is not known what it has heard.
	Again       []route.Family `json:",omitempty"`
	Established int            // how often the session came up
	In, Out     Counts
	LastError   string
	LastErrorAt time.Time
}

// Bounds of a Handover: what is longer was not made by Freeze.
const (
	maxUnsent    = 16 << 20
	maxAnnounced = 100_000
)

// Frozen is a session that was stopped. Where one stood, Handover says how, and File is its connection, to be closed by
// who asked for it: no byte is read or written there until Thaw.
type Frozen struct {
	Handover *Handover
	File     *os.File
}

// Close closes the file. The connection stays with the session.
func (f *Frozen) Close() {
	if f.File != nil {
		f.File.Close()
	}
}

// freezeWrite is how long a write under way may go on when the session is frozen: what is not out then is handed over.
const freezeWrite = 100 * time.Millisecond

// Freeze stops the session between two messages, until Thaw or the end of Run: it reads, writes and decides nothing, and
// connects to nobody. A KEEPALIVE goes out before, so that the neighbor's patience is fresh. What was read before and not
// delivered is delivered after Thaw.
func (s *Session) Freeze(ctx context.Context) (Frozen, error) {
	f := freeze{reply: make(chan frozen, 1), thaw: make(chan struct{})}
	s.mu.Lock()
	if s.thaw != nil || !s.running {
		err := ErrNotRunning
		if s.thaw != nil {
			err = errors.New("is frozen already")
		}
		s.mu.Unlock()
		return Frozen{}, fmt.Errorf("session %s: %w", s.cfg.Name, err)
	}
	s.thaw = f.thaw
	s.mu.Unlock()
	if !s.tell(f) {
		return Frozen{}, ErrNotRunning
	}
	select {
	case x := <-f.reply:
		if x.err != nil {
			s.Thaw()
			return Frozen{}, fmt.Errorf("session %s: %w", s.cfg.Name, x.err)
		}
		return x.Frozen, nil
	case <-s.done:
		return Frozen{}, ErrNotRunning
	case <-ctx.Done():
		s.Thaw()
		select {
		case x := <-f.reply:
			x.Close()
		default:
		}
		return Frozen{}, fmt.Errorf("session %s: does not stop: %w", s.cfg.Name, ctx.Err())
	}
}

// Thaw has a frozen session go on.
func (s *Session) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.thaw != nil {
		close(s.thaw)
		s.thaw = nil
	}
}

// frozen answers a freeze.
type frozen struct {
	Frozen
	err error
}

// freeze does what Freeze asks for. When ctx is done instead of a thaw, the connection may be another process's by then:
// it is left as it stands still.
func (l *loop) freeze(ctx context.Context, f freeze) {
	var x frozen
	goOn := func() {}
	if c := l.up; c != nil {
		l.send(c, message.Keepalive{})
		l.flush()
		h := c.stop()
		goOn = func() { c.goOn(h) }
		if rest, ok := l.halt(ctx, c); ok {
			x = l.handover(c, rest)
		}
	}
	f.reply <- x
	select {
	case <-f.thaw:
		goOn()
	case <-ctx.Done():
	}
}

// halt waits until the reader and the writer of a connection that was stopped stand still, and returns what the reader
// has of a message. ok is false where the session ended meanwhile.
func (l *loop) halt(ctx context.Context, c *conn) (rest []byte, ok bool) {
	for reading := true; reading || c.writing; {
		select {
		case <-ctx.Done():
			return nil, false
		case i := <-l.inbound:
			if i.id == c.id && i.halted {
				rest, reading = i.rest, false
				continue
			}
			l.receive(ctx, i)
		case w := <-l.written:
			l.wrote(ctx, w)
		}
		if l.up != c {
			return nil, false
		}
	}
	return rest, true
}

func (l *loop) handover(c *conn, rest []byte) frozen {
	h, ok := l.record()
	if !ok {
		return frozen{}
	}
	file, err := dup(c.nc)
	if err != nil {
		return frozen{err: fmt.Errorf("hand over the connection: %w", err)}
	}
	h.Unread, h.Unsent = rest, slices.Clone(c.out)
	return frozen{Frozen: Frozen{h, file}}
}

// record is the session that stands, without what is half read or written; ok is false where none does.
func (l *loop) record() (h *Handover, ok bool) {
	st, _, ok := l.state.Standing()
	if !ok {
		return nil, false
	}
	h = &Handover{
		Standing: st, Announced: map[route.Family][]route.Announcement{},
		Established: l.status.Established, LastError: l.status.LastError, LastErrorAt: l.status.LastErrorAt,
	}
	s := l.Session.Status()
	h.In, h.Out = s.In, s.Out
	for _, f := range l.agreed.Families {
		h.Announced[f] = l.rib.announced(f)
		if l.rib.end[f] {
			h.EndOfRIB = append(h.EndOfRIB, f)
		}
		if l.rib.refresh[f] {
			h.Refresh = append(h.Refresh, f)
		}
		if l.rib.again[f] {
			h.Again = append(h.Again, f)
		}
	}
	return h, true
}

// dup is another descriptor of a connection, that shares everything with it.
func dup(nc any) (*os.File, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no descriptor", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	// Not File: what that returns makes the connection blocking for both when its number is asked for.
	fd := -1
	if err := control(raw, func(n int) (err error) { fd, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0); return err }); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "connection"), nil
}

// Take makes a session that goes on with what another process froze, on its connection, which is the session's from then
// on. It tells Up, with Taken set, when it runs; before, nothing is read or written. Run must come. What the neighbor said to the other
// process is not known here: who needs it asks for a refresh. What it was told is not told again; until SetAnnouncements
// says what it should know, nothing is taken back.
func Take(cfg Config, h *Handover, nc net.Conn, sink Sink, log *slog.Logger) (*Session, error) {
	s := New(cfg, sink, log)
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("session %s: %w", cfg.Name, err)
	}
	state, err := fsm.Resume(s.cfg.Params, h.Standing, takenID)
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", cfg.Name, err)
	}
	if local, remote := addrPort(nc.LocalAddr()).Addr(), addrPort(nc.RemoteAddr()).Addr(); local.IsValid() &&
		(local.WithZone("") != cfg.Local.WithZone("") || remote.WithZone("") != cfg.Neighbor.WithZone("")) {
		return nil, fmt.Errorf("session %s: connection is from %s to %s, want %s and %s", cfg.Name, local, remote, cfg.Local, cfg.Neighbor)
	}
	if t, ok := nc.(*net.TCPConn); ok {
		t.SetKeepAlive(false) // BGP has its own
	}
	// It counts as running from now on: what is asked of it is done when Run comes, and an end is said on the connection.
	s.taken, s.running = &taken{h, nc, state}, true
	s.counters.messagesIn.Store(h.In.Messages)
	s.counters.updatesIn.Store(h.In.Updates)
	s.counters.messagesOut.Store(h.Out.Messages)
	s.counters.updatesOut.Store(h.Out.Updates)
	s.status.Store(&Status{Name: cfg.Name, Phase: fsm.Established, Since: h.Standing.Since, Established: h.Established,
		LastError: h.LastError, LastErrorAt: h.LastErrorAt, Negotiated: h.Standing.Negotiated})
	return s, nil
}

func (h *Handover) check() error {
	if h == nil {
		return errors.New("nothing is handed over")
	}
	n := 0
	for _, list := range h.Announced {
		n += len(list)
	}
	switch {
	case len(h.Unread) >= message.MaxExtendedLen:
		return fmt.Errorf("%d bytes of a message, want less than %d", len(h.Unread), message.MaxExtendedLen)
	case len(h.Unsent) > maxUnsent:
		return fmt.Errorf("%d bytes not sent, want at most %d", len(h.Unsent), maxUnsent)
	case n > maxAnnounced:
		return fmt.Errorf("%d prefixes announced, want at most %d", n, maxAnnounced)
	}
	return nil
}

// taken is what a session goes on with.
type taken struct {
	*Handover
	nc    net.Conn
	state fsm.State
}

// takenID is the number of a connection that was taken over: the first one.
const takenID fsm.ConnID = 1

// goOn makes the loop what the other process's was.
func (l *loop) goOn(t *taken) {
	n := t.Standing.Negotiated
	l.state, l.agreed, l.encoder = t.state, n, l.cfg.encoder(n)
	l.lastID = takenID
	c := newConn(takenID, t.nc)
	c.limit, c.out = n.SendHold, t.Unsent
	l.conns[c.id], l.up = c, c
	l.workers.Go(func() { c.readOn(l.inbound, n, t.Unread) })
	l.workers.Go(func() { c.write(l.written) })
	l.rib.resume(t.Handover, n.Families)
	l.status.Local, l.status.Remote = addrPort(t.nc.LocalAddr()), addrPort(t.nc.RemoteAddr())
	l.keepConn()
	l.queue = append(l.queue, Up{Name: l.cfg.Name, At: time.Now(), Negotiated: n, Taken: true})
	l.send(c, message.Keepalive{})
	l.log.Info("session taken over", "neighbor", l.cfg.Neighbor, "router_id", n.RouterID, "up_since", t.Standing.Since)
}
