package main

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/bgp/session"
	"bothways/internal/engine"
	"bothways/internal/handover"
	"bothways/internal/policy"
	"bothways/internal/route"
)

// speaker runs the sessions that the engine asks for, and translates their events.
type speaker struct {
	ctx      context.Context
	log      *slog.Logger
	listener *session.Listener
	kept     *handover.Store
	tell     func(engine.Event)

	mu      sync.Mutex // guards running, which Configure changes while others ask for sessions
	running map[engine.SessionKey]*runningSession
	taken   []func() // what runs sessions that were taken over
	loops   sync.WaitGroup
}

type runningSession struct {
	*session.Session
	params engine.SessionParams
	cancel context.CancelFunc
	gone   atomic.Bool   // no longer wanted, maybe before it began
	ended  chan struct{} // closed when it has ended, and what it replaced too
}

func newSpeaker(ctx context.Context, log *slog.Logger, kept *handover.Store, tell func(engine.Event)) *speaker {
	l := session.NewListener(0, log)
	if kept.Keeps() {
		l.KeepWith(keptSockets{kept, log})
	}
	return &speaker{ctx: ctx, log: log, listener: l, kept: kept, tell: tell, running: map[engine.SessionKey]*runningSession{}}
}

// Configure implements engine.Speaker.
func (s *speaker) Configure(want []engine.SessionParams) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := map[engine.SessionKey]bool{}
	for _, p := range want {
		keep[p.Key] = true
		if have, ok := s.running[p.Key]; ok {
			if sameSession(have.params, p) {
				have.params = p
				have.SetAnnouncements(announcements(p))
				continue
			}
			s.start(p, s.end(p.Key, have))
			continue
		}
		s.start(p, nil)
	}
	for key, have := range s.running {
		if !keep[key] {
			s.end(key, have)
		}
	}
}

// sameSession reports whether nothing but announcements changed.
func sameSession(a, b engine.SessionParams) bool {
	a.Announce, b.Announce = nil, nil
	a.Restarting, b.Restarting = false, false // said once, in the first OPEN
	return reflect.DeepEqual(a, b)
}

func announcements(p engine.SessionParams) map[route.Family][]route.Announcement {
	return map[route.Family][]route.Announcement{p.Key.Family: p.Announce}
}

// start runs a session, after the one that it replaces has ended: the events of the two must not mix.
func (s *speaker) start(p engine.SessionParams, after <-chan struct{}) {
	ctx, cancel := context.WithCancel(s.ctx)
	r := &runningSession{params: p, cancel: cancel, ended: make(chan struct{})}
	r.Session = session.New(s.config(p), s.sink(p.Key), s.log)
	r.SetAnnouncements(announcements(p))
	s.running[p.Key] = r
	s.loops.Go(func() {
		defer close(r.ended)
		if after != nil {
			<-after
		}
		if r.gone.Load() {
			return
		}
		s.listener.Add(r.Session)
		defer s.listener.Remove(r.Session)
		if err := r.Run(ctx); err != nil {
			s.log.Error("session ended", "link", p.Key.String(), "error", err)
		}
	})
}

func (s *speaker) sink(key engine.SessionKey) session.Sink {
	return session.SinkFunc(func(_ context.Context, e session.Event) { s.translate(key, e) })
}

// end stops a session without waiting for it: the engine asked, and must not wait for a neighbor.
func (s *speaker) end(key engine.SessionKey, r *runningSession) <-chan struct{} {
	delete(s.running, key)
	r.gone.Store(true)
	s.loops.Go(func() {
		r.Deconfigure()
		r.cancel()
	})
	return r.ended
}

// Shutdown ends all sessions with a message for the neighbors, and waits for it.
func (s *speaker) Shutdown(text string) {
	s.mu.Lock()
	all := s.running
	s.running = map[engine.SessionKey]*runningSession{}
	s.mu.Unlock()
	var wait sync.WaitGroup
	for _, r := range all {
		r.gone.Store(true)
		wait.Go(func() { r.Session.Shutdown(text) })
	}
	wait.Wait()
}

func (s *speaker) with(key engine.SessionKey, do func(*session.Session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.running[key]; ok {
		do(r.Session)
	}
}

// Refuse implements engine.Speaker.
func (s *speaker) Refuse(key engine.SessionKey, retryAfter time.Duration) {
	s.with(key, func(x *session.Session) { x.Stop(message.MaximumPrefixes, retryAfter) })
}

// Pause implements engine.Speaker.
func (s *speaker) Pause(key engine.SessionKey, reason string) {
	s.with(key, func(x *session.Session) { x.Pause(reason) })
}

// Resume implements engine.Speaker.
func (s *speaker) Resume(key engine.SessionKey) { s.with(key, (*session.Session).Resume) }

// Refresh implements engine.Speaker.
func (s *speaker) Refresh(key engine.SessionKey) {
	s.with(key, func(x *session.Session) {
		if err := x.RequestRefresh(key.Family); err != nil {
			s.log.Debug("no refresh", "error", err)
		}
	})
}

// config is that of a session, which is kept for the case of a crash where somebody keeps it.
func (s *speaker) config(p engine.SessionParams) session.Config {
	c := sessionConfig(p)
	if s.kept.Keeps() {
		c.Keeper = &keeper{store: s.kept, params: p, log: s.log}
	}
	return c
}

func sessionConfig(p engine.SessionParams) session.Config {
	c := session.Config{
		Params: fsm.Params{
			LocalAS: p.LocalAS, NeighborAS: p.NeighborAS, RouterID: p.RouterID, Families: []route.Family{p.Key.Family},
			Hold: p.Hold, Passive: p.Passive, Role: ownRole(p.Role, p.StrictRole), Extended: true,
			Graceful: fsm.Graceful{Enabled: p.GracefulRestart, Restarting: p.Restarting, Preserved: true},
			Seed:     seed(p.Key),
		},
		Name: p.Key.String(), Local: p.Local, Neighbor: p.Neighbor, Password: p.Password, TTLSecurity: p.TTLSecurity,
	}
	if p.Neighbor.IsLinkLocalUnicast() {
		c.Neighbor = p.Neighbor.WithZone(p.Interface)
	}
	return c
}

func seed(k engine.SessionKey) uint64 {
	var h uint64 = 1469598103934665603
	for _, b := range []byte(k.String()) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// ownRole turns what the neighbor is to us into what we are to it (RFC 9234).
func ownRole(neighbor policy.Role, strict bool) fsm.Role {
	switch neighbor {
	case policy.RoleProvider:
		return fsm.Role{Set: true, Is: message.RoleCustomer, Strict: strict}
	case policy.RoleCustomer:
		return fsm.Role{Set: true, Is: message.RoleProvider, Strict: strict}
	case policy.RolePeer:
		return fsm.Role{Set: true, Is: message.RolePeer, Strict: strict}
	}
	return fsm.Role{}
}

func (s *speaker) translate(key engine.SessionKey, e session.Event) {
	switch e := e.(type) {
	case session.Up:
		ends := e.Negotiated.Graceful != nil
		if e.Taken {
			ends = e.Negotiated.EnhancedRefresh
		}
		s.tell(engine.SessionUp{Key: key, Preserved: preserved(e.Negotiated, key.Family), Ends: ends, Taken: e.Taken})
	case session.Down:
		s.tell(engine.SessionDown{Key: key, Reason: e.Reason, Stale: slices.Contains(e.Stale, key.Family), StaleUntil: e.StaleUntil, Evidence: sessionSign(e)})
	case session.Updates:
		s.tell(engine.SessionUpdates{Key: key, Updates: e.Updates})
	case session.EndOfRIB:
		s.tell(engine.SessionEndOfRIB{Key: key})
	case session.RefreshStart:
		s.tell(engine.SessionRefresh{Key: key, Start: true})
	case session.RefreshEnd:
		s.tell(engine.SessionRefresh{Key: key})
	case session.Announced:
		s.tell(engine.SessionAnnounced{Key: key, At: e.At, Prefixes: e.Prefixes})
	case session.Diagnostic:
		s.tell(engine.SessionDiagnostic{Key: key, Text: fmt.Sprintf("%d times %s", e.Count, e.Diagnostic)})
	}
}

// sessionSign is the evidence of a session's end.
func sessionSign(e session.Down) engine.Sign {
	kinds := map[session.Sign]engine.SignKind{
		session.LastMessage: engine.SignMessage, session.NotificationCame: engine.SignNotification, session.ConnectionClosed: engine.SignClose,
	}
	return engine.Sign{Kind: kinds[e.Sign], At: e.SignAt}
}

func preserved(n *fsm.Negotiated, f route.Family) bool {
	if n.Graceful == nil {
		return false
	}
	return slices.ContainsFunc(n.Graceful.Families, func(g message.GracefulFamily) bool { return g.Family == f && g.Preserved })
}

// Sessions lists the sessions as they are shown.
func (s *speaker) Sessions() []v1.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []v1.Session{}
	for key, r := range s.running {
		st := r.Status()
		v := v1.Session{
			Link: key.Link, Family: key.Family.String(), Neighbor: r.params.Neighbor.String(), ASN: r.params.NeighborAS,
			State: st.Phase.String(), Since: st.Since, Announced: st.Announced, UpdatesIn: st.In.Updates, UpdatesOut: st.Out.Updates,
			Established: st.Established, LastError: st.LastError, Capabilities: []string{},
		}
		if n := st.Negotiated; n != nil {
			v.RouterID, v.Hold = n.RouterID.String(), n.Hold.String()
			v.Capabilities = capabilities(n)
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b v1.Session) int { return strings.Compare(a.Link+a.Family, b.Link+b.Family) })
	return out
}

func capabilities(n *fsm.Negotiated) []string {
	out := []string{}
	for _, c := range []struct {
		has  bool
		name string
	}{
		{n.FourOctetAS, "as4"}, {n.RouteRefresh, "refresh"}, {n.EnhancedRefresh, "enhanced-refresh"},
		{n.Graceful != nil, "graceful-restart"}, {n.Extended, "extended-messages"}, {n.HasRole, "role"},
	} {
		if c.has {
			out = append(out, c.name)
		}
	}
	return out
}
