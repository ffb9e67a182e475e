package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"

	"bothways/internal/bgp/session"
	"bothways/internal/engine"
)

// all lists the sessions in a fixed order.
func (s *speaker) all() []*runningSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.running), func(a, b *runningSession) int {
		return cmp.Compare(a.Config().Name, b.Config().Name)
	})
}

// canFreeze says which session could not go on in another process.
func (s *speaker) canFreeze() error {
	for _, r := range s.all() {
		if n := r.Status().Negotiated; n != nil && !n.RouteRefresh {
			return fmt.Errorf("%s: its neighbor cannot say its routes again (it has no route refresh), so that another process would not know them: its session would have to go down", r.Config().Name)
		}
	}
	return nil
}

// freeze has every session stand still, and lists those that stand, with their connections.
func (s *speaker) freeze(ctx context.Context, along *files) ([]handedSession, error) {
	all := s.all()
	frozen, errs := make([]session.Frozen, len(all)), make([]error, len(all))
	var wait sync.WaitGroup
	for i, r := range all {
		wait.Go(func() { frozen[i], errs[i] = r.Freeze(ctx) })
	}
	wait.Wait()
	var out []handedSession
	s.mu.Lock() // Configure changes params
	defer s.mu.Unlock()
	for i, r := range all {
		if errors.Is(errs[i], session.ErrNotRunning) {
			errs[i] = nil // it waits for the end of what it replaces: there is nothing to hand over
		}
		if h := frozen[i].Handover; h != nil {
			out = append(out, handedSession{r.params, h, along.add(frozen[i].File)})
		}
	}
	return out, errors.Join(errs...)
}

// thaw has every session go on.
func (s *speaker) thaw() {
	for _, r := range s.all() {
		r.Thaw()
	}
}

// take goes on with a session that stands. Whether it is still wanted, and so, is for the next Configure to say: as after a
// reload, it goes on, or is ended with a word to the neighbor.
func (s *speaker) take(p engine.SessionParams, h *session.Handover, nc net.Conn) error {
	x, err := session.Take(s.config(p), h, nc, s.sink(p.Key), s.log)
	if err != nil {
		nc.Close()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[p.Key] != nil {
		return fmt.Errorf("is there twice")
	}
	ctx, cancel := context.WithCancel(s.ctx)
	r := &runningSession{Session: x, params: p, cancel: cancel, ended: make(chan struct{})}
	s.running[p.Key] = r
	s.listener.Add(x)
	s.taken = append(s.taken, func() {
		defer close(r.ended)
		defer s.listener.Remove(x)
		if err := x.Run(ctx); err != nil {
			s.log.Error("session ended", "link", p.Key.String(), "error", err)
		}
	})
	return nil
}

// goOn runs what was taken.
func (s *speaker) goOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, run := range s.taken {
		s.loops.Go(run)
	}
	s.taken = nil
}
