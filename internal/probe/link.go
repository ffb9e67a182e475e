package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// link probes the targets of one link.
type link struct {
	p   *Prober
	cfg Config

	mu      sync.Mutex // guards sockets: targets of one kind share one
	sockets map[medium]*socket
}

// medium is what a shared socket is for.
type medium struct {
	kind Kind
	v4   bool
}

// answer is what came back.
type answer struct {
	rtt  time.Duration
	used Used
}

func newLink(p *Prober, cfg Config) *link {
	return &link{p: p, cfg: cfg, sockets: map[medium]*socket{}}
}

// run probes every target in a goroutine of its own, one probe of it at a time, spread over the interval.
func (l *link) run(ctx context.Context) {
	var targets sync.WaitGroup
	begin := time.Now()
	for i, t := range l.cfg.Targets {
		offset := l.cfg.Every * time.Duration(i) / time.Duration(len(l.cfg.Targets))
		targets.Go(func() { l.repeat(ctx, t, begin.Add(offset)) })
	}
	targets.Wait()
	for _, s := range l.sockets {
		s.close()
	}
}

func (l *link) repeat(ctx context.Context, t Target, next time.Time) {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r := l.once(ctx, t)
		if ctx.Err() != nil {
			return // what a probe met while it was stopped says nothing
		}
		l.p.report(ctx, r)
		next = next.Add(l.cfg.Every)
		if late := time.Since(next); late > l.cfg.Every {
			next = next.Add(late.Truncate(l.cfg.Every)) // what was missed is not made up for
		}
		timer.Reset(time.Until(next))
	}
}

// once is one probe.
func (l *link) once(ctx context.Context, t Target) Result {
	r := Result{Link: l.cfg.Link, Target: t, Sent: time.Now(),
		Used: Used{Source: l.cfg.source(t.Address), Interface: l.cfg.Interface, Mark: l.cfg.Mark}}
	var a answer
	var err error
	switch t.Kind {
	case TCP:
		a, err = l.tcp(ctx, t)
	case HTTP:
		a, err = l.http(ctx, t)
	default:
		a, err = l.ask(ctx, t)
	}
	if err != nil {
		r.Why = l.describe(err)
		return r
	}
	r.OK, r.RTT, r.Used = true, a.rtt, a.used
	return r
}

// ask sends a datagram by the shared socket and waits for its answer.
func (l *link) ask(ctx context.Context, t Target) (answer, error) {
	m := medium{t.Kind, t.Address.Is4()}
	l.mu.Lock()
	s := l.sockets[m]
	if s == nil || s.broken.Swap(false) && l.moved(s) {
		if s != nil {
			s.close()
			delete(l.sockets, m)
		}
		var err error
		l.p.within(func() { s, err = openSocket(l.cfg, m) })
		if err != nil {
			l.mu.Unlock()
			return answer{}, err
		}
		l.sockets[m] = s
	}
	l.mu.Unlock()
	a, err := s.exchange(ctx, t, l.cfg.timeout())
	mark := l.cfg.Mark
	if t.Kind == ARP {
		mark = 0 // what is below IP has none
	}
	if err == nil && a.index != s.index {
		// By another interface than it was sent: the socket is bound, so this is not seen; were it, it is said.
		return answer{}, fmt.Errorf("the answer came by interface %d", a.index)
	}
	return answer{a.rtt, Used{Source: a.to, Interface: l.cfg.Interface, Mark: mark}}, err
}

// moved reports whether a socket by which a probe could not be sent is of no more use. It mostly is: one target has no route,
// and others wait for answers on the same socket. What is bound below IP knows the interface's hardware address, too.
func (l *link) moved(s *socket) (moved bool) {
	if s.kind == ARP {
		return true
	}
	l.p.within(func() {
		index, err := interfaceOf(l.cfg.Interface)
		moved = err != nil || index != s.index
	})
	return moved
}

// errTimeout is a probe without an answer.
var errTimeout = errors.New("no answer")

// describe says in few words why a probe failed.
func (l *link) describe(err error) string {
	var errno unix.Errno
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer in %v", l.cfg.timeout())
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Sprintf("interface %s is missing", l.cfg.Interface)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "the source address is not there"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
