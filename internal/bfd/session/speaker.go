package session

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/bfd/packet"
)

// Speaker runs all sessions. Its methods may be called from any goroutine; what they ask for is done by Run.
type Speaker struct {
	log  *slog.Logger
	sink func(Event)

	// The loop takes and gives by these, and never waits for who is at the other end.
	want     atomic.Pointer[[]Config]
	sessions atomic.Pointer[[]*session] // by name
	events   chan struct{}              // one token: a session has an event
	discards [packet.Discards]atomic.Uint64
	latest   atomic.Int64

	mu   sync.Mutex // guards wake between Set and the end of Run; the loop does not take it
	wake int        // an eventfd; -1 while Run does not run

	enter func() error // tests move the loop's thread to a namespace
}

// New makes a speaker that does nothing before Run. The sink is called from one goroutine, and may take its time.
func New(log *slog.Logger, sink func(Event)) *Speaker {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Speaker{log: log, sink: sink, events: make(chan struct{}, 1), wake: -1, enter: func() error { return nil }}
}

// Set says which sessions there are. Those that were there and are the same go on; a session whose timers are others
// agrees on them with its neighbor and stays up; to the neighbor of one that is gone we say that it is by an operator's
// wish. Nothing changes if any configuration is wrong.
func (s *Speaker) Set(list []Config) error {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Config) int { return strings.Compare(a.Name, b.Name) })
	for i, c := range list {
		if err := c.check(); err != nil {
			return err
		}
		if i > 0 && list[i-1].Name == c.Name {
			return fmt.Errorf("session %s: is there twice", c.Name)
		}
	}
	s.want.Store(&list)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake >= 0 {
		kick(s.wake)
	}
	return nil
}

// Status returns all sessions by name.
func (s *Speaker) Status() []Status {
	var all []Status
	if p := s.sessions.Load(); p != nil {
		for _, x := range *p {
			all = append(all, x.report())
		}
	}
	return all
}

// Stats returns what is counted over all sessions.
func (s *Speaker) Stats() Stats {
	st := Stats{Latest: time.Duration(s.latest.Load())}
	for i := range s.discards {
		st.Discards[i] = s.discards[i].Load()
	}
	return st
}

// Run serves the sessions until ctx is done, and returns nil then. What was Set before is carried out first; beyond
// that nothing is said to the neighbors, so that who takes over in time goes on. To end the sessions, Set none.
func (s *Speaker) Run(ctx context.Context) error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("bfd: make eventfd: %w", err)
	}
	s.mu.Lock()
	if s.wake >= 0 {
		s.mu.Unlock()
		unix.Close(wake)
		return fmt.Errorf("bfd: runs already")
	}
	s.wake = wake
	s.mu.Unlock()

	var ending atomic.Bool
	stop := context.AfterFunc(ctx, func() {
		ending.Store(true)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.wake >= 0 {
			kick(s.wake)
		}
	})
	quiet := make(chan struct{})
	var sink sync.WaitGroup
	sink.Go(func() { s.notify(quiet) })
	ended := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nobody inherits its priority.
		runtime.LockOSThread()
		if err := s.enter(); err != nil {
			ended <- err
			return
		}
		// Ahead of who else wants the processor. Without the privilege it is as it is.
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
		ended <- newLoop(s, wake).run(&ending)
	}()
	err = <-ended
	stop()
	close(quiet)
	sink.Wait()
	s.mu.Lock()
	s.wake = -1
	s.mu.Unlock()
	unix.Close(wake)
	return err
}

// notify calls the sink with what has happened, in its order, and writes the log: the loop waits for neither.
func (s *Speaker) notify(quiet <-chan struct{}) {
	for {
		select {
		case <-s.events:
		case <-quiet:
			return
		}
		var all []Event
		for _, x := range *s.sessions.Load() {
			if e := x.event.Swap(nil); e != nil {
				all = append(all, *e)
			}
			if w := x.status.Load().Waiting; w != x.waits {
				x.waits = w
				if w != "" {
					s.log.Warn("bfd waits", "link", x.report().Name, "reason", w)
				}
			}
		}
		slices.SortStableFunc(all, func(a, b Event) int { return a.at().Compare(b.at()) })
		for _, e := range all {
			s.sink(e)
			s.say(e)
		}
	}
}

func (s *Speaker) say(e Event) {
	switch e := e.(type) {
	case Up:
		s.log.Info("bfd is up", "link", e.Name)
	case Down:
		s.log.Info("bfd is down", "link", e.Name, "admin", e.Admin, "reason", e.Reason, "after", e.At.Sub(e.Heard))
	}
}
