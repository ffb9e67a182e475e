package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"

	"bothways/internal/api"
)

// public is where metrics are served by TCP, which a reload may change. What goes wrong there ends nothing else.
type public struct {
	log     *slog.Logger
	serving sync.WaitGroup

	mu      sync.Mutex // guards what follows, which reloads and restarts change, and Run begins
	ctx     context.Context
	metrics http.Handler // nil before Run
	at      netip.AddrPort
	gate    *gate // nil: nowhere
	end     context.CancelFunc
}

func newPublic(log *slog.Logger) *public { return &public{log: log} }

// move listens on another address, or with an invalid one on none. The error leaves everything as it is.
func (p *public) move(ctx context.Context, at netip.AddrPort) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at == p.at {
		return nil
	}
	before := p.at
	if !at.IsValid() {
		p.replace(at, nil)
		return nil
	}
	ln, err := listenPublic(ctx, at)
	if err != nil && overlap(before, at) {
		// Our own socket is in the way: the one goes before the other comes, and comes back where that does not.
		p.replace(netip.AddrPort{}, nil)
		if ln, err = listenPublic(ctx, at); err != nil {
			if ln, again := listenPublic(ctx, before); again != nil {
				err = errors.Join(err, again)
			} else if again := p.put(before, ln); again != nil {
				err = errors.Join(err, again)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("api.listen: %w", err)
	}
	return p.put(at, ln)
}

// overlap reports whether one address includes the other, so that nobody can listen on both.
func overlap(a, b netip.AddrPort) bool {
	return a.IsValid() && b.IsValid() && a.Port() == b.Port() && (a.Addr().IsUnspecified() || b.Addr().IsUnspecified())
}

func listenPublic(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp", at.String())
}

// use serves on a listener of an address.
func (p *public) use(at netip.AddrPort, ln net.Listener) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.put(at, ln)
}

func (p *public) put(at netip.AddrPort, ln net.Listener) error {
	g, err := newGate(ln)
	if err != nil {
		return err
	}
	p.replace(at, g)
	return nil
}

// replace puts another listener in the place of the one that is there. What was asked there before is answered.
func (p *public) replace(at netip.AddrPort, g *gate) {
	if p.gate != nil {
		if p.end != nil {
			p.end()
		}
		p.gate.Close()
	}
	p.at, p.gate, p.end = at, g, nil
	p.serve()
}

// serve begins to answer, once there is something to answer with.
func (p *public) serve() {
	if p.gate == nil || p.metrics == nil || p.ctx.Err() != nil {
		return
	}
	ctx, end := context.WithCancel(p.ctx)
	g, at := p.gate, p.at
	p.end = end
	p.serving.Go(func() {
		p.log.Info("serving metrics", "address", at)
		if err := api.ServePublic(ctx, g, p.metrics, p.log); err != nil && ctx.Err() == nil {
			p.log.Error("metrics are no longer served", "address", at, "error", err)
		}
	})
}

// Run serves metrics until the context ends.
func (p *public) Run(ctx context.Context, metrics http.Handler) error {
	p.mu.Lock()
	p.ctx, p.metrics = ctx, metrics
	p.serve()
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.replace(netip.AddrPort{}, nil)
	p.mu.Unlock()
	p.serving.Wait()
	return nil
}

// stop takes no more connections until goOn.
func (p *public) stop() { p.with((*gate).stop) }

func (p *public) goOn() { p.with((*gate).goOn) }

func (p *public) with(do func(*gate)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate != nil {
		do(p.gate)
	}
}

// file is the listening socket with its address, for another process; nil: there is none.
func (p *public) file() (netip.AddrPort, *os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		return p.at, nil, nil
	}
	f, err := p.gate.File()
	return p.at, f, err
}
