package session

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
)

// Listening is a listening socket, as one process hands it to another.
type Listening struct {
	Local netip.Addr
	Keyed []netip.Addr // neighbors that have a key on it
	File  *os.File     `json:"-"`
}

// SocketKeeper keeps listening sockets beyond the end of this process.
type SocketKeeper interface {
	// Keep takes the socket of a local address. The file stays the caller's.
	Keep(local netip.Addr, f *os.File)
	// Drop forgets it.
	Drop(local netip.Addr)
}

// KeepWith has sockets kept. It must come before Run.
func (l *Listener) KeepWith(k SocketKeeper) { l.keeper = k }

func (l *Listener) keep(local netip.Addr, ln *net.TCPListener) {
	if l.keeper == nil {
		return
	}
	f, err := dup(ln)
	if err != nil {
		l.log.Debug("the socket cannot be kept for another process", "address", local, "error", err)
		return
	}
	defer f.Close()
	l.keeper.Keep(local, f)
}

// Sockets lists the sockets that are open now, each with a file to be closed by who asked.
func (l *Listener) Sockets() ([]Listening, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Listening
	for _, local := range slices.SortedFunc(maps.Keys(l.sockets), netip.Addr.Compare) {
		s := l.sockets[local]
		f, err := dup(s.ln)
		if err != nil {
			for _, x := range out {
				x.File.Close()
			}
			return nil, fmt.Errorf("listen on %s: %w", local, err)
		}
		out = append(out, Listening{local, slices.SortedFunc(maps.Keys(s.keys), netip.Addr.Compare), f})
	}
	return out, nil
}

// Take has the listener use a socket of another process's, from when it runs. One that no session wants then is closed, so
// sessions are best added before. It must come before Run.
func (l *Listener) Take(x Listening) error {
	ln, err := net.FileListener(x.File)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", x.Local, err)
	}
	t, ok := ln.(*net.TCPListener)
	if at := addrPort(ln.Addr()); !ok || at.Addr().WithZone("") != x.Local.WithZone("") || at.Port() != l.port {
		ln.Close()
		return fmt.Errorf("listen on %s: the socket is %s", x.Local, ln.Addr())
	}
	s := &socket{ln: t, keys: map[netip.Addr]string{}}
	for _, n := range x.Keyed {
		s.keys[n] = "" // which one is not known: it is set again, or taken away
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sockets[x.Local] = s
	return nil
}
