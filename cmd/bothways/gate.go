package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// gate is the API's listener, which can be closed for a while: who connects then waits, and is served by whoever listens on
// the socket later.
type gate struct {
	*net.UnixListener

	mu   sync.Mutex // guards over, which a restart changes while Accept waits for it
	over chan struct{}
}

func newGate(ln net.Listener) (*gate, error) {
	u, ok := ln.(*net.UnixListener)
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("api: a %T, want a unix socket", ln)
	}
	u.SetUnlinkOnClose(true) // which it is not where it was another process's
	return &gate{UnixListener: u}, nil
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.UnixListener.Accept()
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
	err := g.UnixListener.Close()
	g.goOn() // Accept finds the end
	return err
}
