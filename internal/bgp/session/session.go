package session

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// Session is BGP with one neighbor. Its methods may be called from any goroutine; what they ask for is done by Run.
type Session struct {
	cfg  Config
	sink Sink
	log  *slog.Logger
	dial func(context.Context, *Config) (net.Conn, error) // tests put a pipe here

	status   atomic.Pointer[Status]
	counters counters

	mu       sync.Mutex // guards what follows up to commands: what is put there after Run has ended would be lost
	running  bool
	ended    bool
	taken    *taken        // what Run goes on with, or nil
	thaw     chan struct{} // of the freeze under way
	commands []command
	wake     chan struct{} // one token: commands is not empty
	done     chan struct{} // closed when Run returns
}

// command is something that a method asks Run for.
type command interface{}

type (
	announce struct {
		all map[route.Family][]route.Announcement
	}
	refresh struct{ family route.Family }
	release struct{}
	retry   struct{}
	resume  struct{}
	accept  struct{ nc net.Conn }
	freeze  struct {
		reply chan frozen   // room for one
		thaw  chan struct{} // closed when it may go on
	}
	stop struct {
		fsm.Stop
		final bool
	}
)

// New makes a session that does nothing before Run.
func New(cfg Config, sink Sink, log *slog.Logger) *Session {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Seed == 0 { // sessions of one daemon should not all come back in step
		h := fnv.New64a()
		h.Write([]byte(cfg.Name))
		cfg.Seed = h.Sum64()
	}
	s := &Session{
		cfg: cfg, sink: sink, log: log.With("link", cfg.Name), dial: dialTCP,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	s.status.Store(&Status{Name: cfg.Name, Phase: fsm.Idle})
	return s
}

// Config returns what the session was made with.
func (s *Session) Config() Config { return s.cfg }

// Run keeps the session up until ctx is done, or Shutdown or Abandon ends it. Then it returns nil. When ctx is done,
// the connection is closed without a NOTIFICATION, so that a neighbor with graceful restart keeps our routes, and no
// more events are delivered.
func (s *Session) Run(ctx context.Context) error {
	s.mu.Lock()
	t := s.taken
	if s.running && t == nil || s.ended {
		s.mu.Unlock()
		return fmt.Errorf("session %s: runs already or has ended", s.cfg.Name)
	}
	s.running, s.taken = true, nil
	s.mu.Unlock()

	l := newLoop(s)
	l.run(ctx, t)

	s.mu.Lock()
	s.running, s.ended = false, true
	for _, c := range s.commands {
		if a, ok := c.(accept); ok {
			a.nc.Close()
		}
	}
	s.commands, s.thaw = nil, nil
	s.mu.Unlock()
	close(s.done)
	return nil
}

// tell queues a command for Run. It reports false where Run has ended.
func (s *Session) tell(c command) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.commands = append(s.commands, c)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

func (s *Session) takeCommands() []command {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.commands
	s.commands = nil
	return c
}

// SetAnnouncements replaces all that is announced, of every family. The neighbor is sent the difference, now and
// whenever the session comes up. It may be called before Run.
func (s *Session) SetAnnouncements(all map[route.Family][]route.Announcement) {
	mine := map[route.Family][]route.Announcement{}
	for f, list := range all {
		mine[f] = slices.Clone(list)
	}
	s.tell(announce{mine})
}

// ReleaseEndOfRIB lets the End-of-RIB markers go that Config.HoldEndOfRIB keeps back, behind what is announced by now.
func (s *Session) ReleaseEndOfRIB() { s.tell(release{}) }

// Retry has the session connect now, if it waits to. It is for when the reason of failures may be gone, such as when
// the carrier is back.
func (s *Session) Retry() { s.tell(retry{}) }

// Pause ends the connection without a word and makes no other until Resume, because nothing can be said: the link has
// lost its carrier. The neighbor's routes go, since the neighbor sees the same and lets ours go.
func (s *Session) Pause(reason string) { s.tell(stop{fsm.Stop{Reason: reason}, false}) }

// Resume is the contrary of Pause.
func (s *Session) Resume() { s.tell(resume{}) }

// RequestRefresh asks the neighbor to send all routes of the family again (RFC 2918).
func (s *Session) RequestRefresh(f route.Family) error {
	n := s.Status().Negotiated
	switch {
	case n == nil:
		return fmt.Errorf("session %s: is not established", s.cfg.Name)
	case !n.RouteRefresh:
		return fmt.Errorf("session %s: the neighbor cannot refresh routes", s.cfg.Name)
	case !slices.Contains(n.Families, f):
		return fmt.Errorf("session %s: %s was not agreed on", s.cfg.Name, f)
	}
	s.tell(refresh{f})
	return nil
}

// Stop ends the session with a cease of the subcode, and refuses the neighbor for retryAfter; for ever if that is zero.
func (s *Session) Stop(subcode message.Subcode, retryAfter time.Duration) {
	s.tell(stop{fsm.Stop{Notification: message.Cease(subcode, ""), RetryAfter: retryAfter}, false})
}

// Reset ends the session with an administrative reset; it comes up again by itself.
func (s *Session) Reset(text string) {
	s.tell(stop{fsm.Stop{Notification: message.Cease(message.AdministrativeReset, text), RetryAfter: time.Second}, false})
}

// Shutdown ends the session for good and tells the neighbor why (RFC 9003). It returns when Run has: the NOTIFICATION
// was written, or could not be in a few seconds.
func (s *Session) Shutdown(text string) {
	s.end(message.Cease(message.AdministrativeShutdown, text))
}

// Deconfigure is Shutdown for a neighbor that the configuration no longer names.
func (s *Session) Deconfigure() { s.end(message.Cease(message.PeerDeconfigured, "")) }

// Abandon ends the session for good without a word, so that a neighbor with graceful restart keeps our routes. It
// returns when Run has.
func (s *Session) Abandon() { s.end(nil) }

func (s *Session) end(n *message.Notification) {
	s.mu.Lock()
	running := s.running
	if !running {
		s.ended = true
	}
	s.mu.Unlock()
	if !running {
		return
	}
	if !s.tell(stop{fsm.Stop{Notification: n}, true}) {
		return
	}
	t := time.NewTimer(closeTime + drainTime + time.Second)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C: // a Sink that does not take the last events
	}
}

// ErrNotRunning says that a session has not begun, or has ended.
var ErrNotRunning = errors.New("session does not run")

// takeConn hands a connection that the neighbor made to the session.
func (s *Session) takeConn(nc net.Conn) error {
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	if !running || !s.tell(accept{nc}) {
		return ErrNotRunning
	}
	return nil
}
