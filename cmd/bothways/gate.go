package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// gate is a listener, which can be closed for a while: who connects then waits, and is served by whoever listens on the socket
// later.
type gate struct {
	listener

	mu   sync.Mutex // guards over, which a restart changes while Accept waits for it
	over chan struct{}
}

// listener is what a gate needs, of a TCP or a unix socket.
type listener interface {
	net.Listener
	SetDeadline(time.Time) error
	File() (*os.File, error)
}

func newGate(ln net.Listener) (*gate, error) {
	l, ok := ln.(listener)
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("api: a %T, want a TCP or a unix socket", ln)
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(true) // which it is not where it was another process's
	}
	return &gate{listener: l}, nil
}

// leave keeps the name of the socket when it is closed: it is another process's.
func (g *gate) leave() {
	if u, ok := g.listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.listener.Accept()
		g.mu.Lock()
		over := g.over
		g.mu.Unlock()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
		if over != nil {
			<-over
		}
	}
}

// stop takes no more connections until goOn.
func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over == nil {
		g.over = make(chan struct{})
		g.SetDeadline(time.Unix(1, 0))
	}
}

func (g *gate) goOn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over != nil {
		g.SetDeadline(time.Time{})
		close(g.over)
		g.over = nil
	}
}

// Close implements net.Listener.
func (g *gate) Close() error {
	err := g.listener.Close()
	g.goOn() // Accept finds the end
	return err
}
