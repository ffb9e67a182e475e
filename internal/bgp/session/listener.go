package session

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Listener takes the connections that neighbors make and hands each to its session, by the two addresses. It has a
// socket for each local address that a session uses; an address that is not there yet does no harm to the others.
type Listener struct {
	port  uint16
	log   *slog.Logger
	retry time.Duration

	keeper SocketKeeper // nil: sockets end with the process

	mu       sync.Mutex // guards what follows: accepting goroutines read sessions, Add and Remove change them, Sockets reads sockets
	sessions map[pair]*Session
	sockets  map[netip.Addr]*socket
	wake     chan struct{}
}

// pair is the two ends of a neighborship.
type pair struct{ local, neighbor netip.Addr }

// socket is a listening socket and what was set on it.
type socket struct {
	ln   *net.TCPListener
	keys map[netip.Addr]string // by neighbor
	ttl  int
}

// NewListener makes a listener on a port, 179 if it is 0, that does nothing before Run.
func NewListener(port uint16, log *slog.Logger) *Listener {
	if port == 0 {
		port = bgpPort
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Listener{
		port: port, log: log, retry: time.Second,
		sessions: map[pair]*Session{}, sockets: map[netip.Addr]*socket{}, wake: make(chan struct{}, 1),
	}
}

func pairOf(s *Session) pair { return pair{s.cfg.Local, s.cfg.Neighbor} }

// Add has connections for the session taken. One with the same addresses is replaced.
func (l *Listener) Add(s *Session) {
	l.mu.Lock()
	l.sessions[pairOf(s)] = s
	l.mu.Unlock()
	l.poke()
}

// Remove is the contrary of Add.
func (l *Listener) Remove(s *Session) {
	l.mu.Lock()
	if l.sessions[pairOf(s)] == s {
		delete(l.sessions, pairOf(s))
	}
	l.mu.Unlock()
	l.poke()
}

func (l *Listener) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Listener) find(p pair) *Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sessions[p]
}

// wanted lists the sessions by local address.
func (l *Listener) wanted() map[netip.Addr][]*Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[netip.Addr][]*Session{}
	for p, s := range l.sessions {
		out[p.local] = append(out[p.local], s)
	}
	return out
}

// Run opens and closes sockets as sessions come and go, until ctx is done. An address that cannot be listened on is
// tried again every second.
func (l *Listener) Run(ctx context.Context) error {
	said := map[netip.Addr]string{} // each error once
	var workers sync.WaitGroup
	defer workers.Wait()
	defer l.close()
	l.mu.Lock()
	for local, s := range l.sockets { // taken
		workers.Go(func() { l.acceptAll(s.ln, local) })
	}
	l.mu.Unlock()
	for {
		var again <-chan time.Time
		want := l.wanted()
		l.drop(want)
		for local, sessions := range want {
			if err := l.serve(ctx, local, sessions, &workers); err != nil {
				again = time.After(l.retry)
				if said[local] != err.Error() {
					said[local] = err.Error()
					l.log.Warn("cannot listen for neighbors, will try again", "address", local, "error", err)
				}
				continue
			}
			delete(said, local)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-again:
		}
	}
}

// drop closes the sockets that no session wants.
func (l *Listener) drop(want map[netip.Addr][]*Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for local, s := range l.sockets {
		if want[local] == nil {
			s.ln.Close()
			delete(l.sockets, local)
			if l.keeper != nil {
				l.keeper.Drop(local)
			}
		}
	}
}

// close closes all sockets. Who keeps them goes on keeping them: another process may have taken over by now.
func (l *Listener) close() {
	l.keeper = nil
	l.drop(nil)
}

// serve brings the socket of a local address to what its sessions want, and makes it where there is none.
func (l *Listener) serve(ctx context.Context, local netip.Addr, sessions []*Session, workers *sync.WaitGroup) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sockets[local]
	if s == nil {
		ln, err := l.listen(ctx, local)
		if err != nil {
			return err
		}
		s = &socket{ln: ln, keys: map[netip.Addr]string{}}
		l.sockets[local] = s
		l.keep(local, ln)
		workers.Go(func() { l.acceptAll(ln, local) })
	}
	raw, err := s.ln.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd int) error { return s.adjust(fd, local, sessions) })
}

// adjust sets keys and TTL on the socket, which its connections start with.
func (s *socket) adjust(fd int, local netip.Addr, sessions []*Session) error {
	// A SYN is answered with the socket's TTL. 255 does no harm to a neighbor without GTSM.
	ttl := 1
	keys := map[netip.Addr]string{}
	for _, session := range sessions {
		if session.cfg.TTLSecurity {
			ttl = 255
		}
		if len(session.cfg.Password) > 0 {
			keys[session.cfg.Neighbor] = string(session.cfg.Password)
		}
	}
	if s.ttl != ttl {
		if err := setSendTTL(fd, local.Is4(), ttl); err != nil {
			return err
		}
		s.ttl = ttl
	}
	for n := range s.keys {
		if _, ok := keys[n]; !ok {
			if err := setMD5(fd, n, nil); err != nil {
				return fmt.Errorf("neighbor %s: %w", n, err)
			}
			delete(s.keys, n)
		}
	}
	for n, key := range keys {
		if s.keys[n] != key {
			if err := setMD5(fd, n, []byte(key)); err != nil {
				return fmt.Errorf("neighbor %s: %w", n, err)
			}
			s.keys[n] = key
		}
	}
	return nil
}

func (l *Listener) listen(ctx context.Context, local netip.Addr) (*net.TCPListener, error) {
	lc := net.ListenConfig{
		KeepAlive: -1,
		Control: func(_, _ string, raw syscall.RawConn) error {
			return control(raw, func(fd int) error { return setFree(fd, local.Is4()) })
		},
	}
	// Go listens with Multipath TCP by default, whose sockets know neither MD5 nor TTLs.
	lc.SetMultipathTCP(false)
	network := "tcp6"
	if local.Is4() {
		network = "tcp4"
	}
	ln, err := lc.Listen(ctx, network, netip.AddrPortFrom(local, l.port).String())
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// acceptAll takes connections until the socket is closed.
func (l *Listener) acceptAll(ln *net.TCPListener, local netip.Addr) {
	for {
		nc, err := ln.AcceptTCP()
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() || isTemporary(err) {
				time.Sleep(100 * time.Millisecond) // out of descriptors or memory: others need a chance
				continue
			}
			return
		}
		if err := l.hand(nc, local); err != nil {
			l.log.Debug("connection refused", "from", nc.RemoteAddr(), "to", local, "reason", err)
			nc.Close()
		}
	}
}

// hand gives a connection to its session. One of an unknown neighbor is not answered.
func (l *Listener) hand(nc *net.TCPConn, local netip.Addr) error {
	remote := addrPort(nc.RemoteAddr()).Addr()
	s := l.find(pair{local, remote})
	if s == nil {
		return fmt.Errorf("no neighbor %s on %s", remote, local)
	}
	raw, err := nc.SyscallConn()
	if err != nil {
		return err
	}
	if err := control(raw, func(fd int) error { return setTTL(fd, &s.cfg) }); err != nil {
		return err
	}
	return s.takeConn(nc)
}
