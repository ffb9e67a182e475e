package farside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ports of the services. HTTP answers an Answer as JSON; the line services answer one, or echo a stream's packet.
const (
	HTTPPort   = 80
	LinePort   = 7
	StreamPort = 9
)

// Answer is what a service sees of its client.
type Answer struct {
	Host   string     `json:"host"`    // the service's name
	SeenAs netip.Addr `json:"seen_as"` // the client's address
	Via    string     `json:"via"`     // the router by which the request came
}

// Services are the hosts of one namespace: all their addresses, one answer.
type Services struct {
	// Hosts names each address.
	Hosts map[netip.Addr]string
	// Via names the router that is behind each interface, by the interface's index and by the mark that packets get there.
	ViaIndex map[int]string
	ViaMark  map[uint32]string

	log     *slog.Logger
	closers []func() error
	tasks   sync.WaitGroup
	streams streams
	pings   pings
}

// Serve opens the services' sockets. It has to be called inside their namespace; the sockets are served until Close.
func (s *Services) Serve(log *slog.Logger) error {
	s.log = log
	for _, open := range []func() error{s.serveHTTP, s.serveLine, s.serveLines, s.serveStreams, s.servePings} {
		if err := open(); err != nil {
			s.Close()
			return err
		}
	}
	return nil
}

// Close ends the services.
func (s *Services) Close() {
	for _, c := range s.closers {
		_ = c() // its sockets end whatever they say
	}
	s.tasks.Wait()
}

func (s *Services) listen(port int) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf("[::]:%d", port))
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, l.Close)
	return l, nil
}

func (s *Services) answer(local, remote netip.Addr, via string) Answer {
	return Answer{Host: s.Hosts[local.Unmap()], SeenAs: remote.Unmap(), Via: via}
}

// seen is what a connection tells of its client. The mark is that of the packet that opened it (tcp_fwmark_accept).
func (s *Services) seen(c net.Conn) Answer {
	a := s.answer(addrOf(c.LocalAddr()), addrOf(c.RemoteAddr()), "")
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return a
	}
	_ = raw.Control(func(fd uintptr) { // without a mark the router stays unnamed
		if mark, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); err == nil {
			a.Via = s.ViaMark[uint32(mark)]
		}
	})
	return a
}

func addrOf(a net.Addr) netip.Addr {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap()
}

type seenKey struct{}

func (s *Services) serveHTTP() error {
	l, err := s.listen(HTTPPort)
	if err != nil {
		return err
	}
	server := &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, seenKey{}, s.seen(c))
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			a, _ := r.Context().Value(seenKey{}).(Answer)
			_ = json.NewEncoder(w).Encode(a) // the client is gone, or has it
		}),
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.closers = append(s.closers, server.Close)
	s.tasks.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.log.Error("http service ended", "error", err)
		}
	})
	return nil
}

// serveLine answers each line of a TCP connection with one of its own, so that a connection can be kept and asked again.
func (s *Services) serveLine() error {
	l, err := s.listen(LinePort)
	if err != nil {
		return err
	}
	s.tasks.Go(func() {
		var conns sync.WaitGroup
		defer conns.Wait()
		open := &connSet{}
		defer open.closeAll()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.add(c)
			conns.Go(func() {
				defer open.remove(c)
				a := s.seen(c)
				buf, enc := make([]byte, 2048), json.NewEncoder(c)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if enc.Encode(a) != nil {
						return
					}
				}
			})
		}
	})
	return nil
}

// connSet are open connections, to be closed at the end.
type connSet struct {
	mu    sync.Mutex // accepting and ending connections change it
	conns map[net.Conn]bool
}

func (s *connSet) add(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = map[net.Conn]bool{}
	}
	s.conns[c] = true
}

func (s *connSet) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.Close()
}

func (s *connSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}
