package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freeAddress is a port of loopback that nobody listens on now.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// publicThatRuns is one that runs, and answers with a word.
func publicThatRuns(t *testing.T, word string) (p *public, end func()) {
	t.Helper()
	p = newPublic(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, word) }))
	}()
	end = func() { cancel(); <-done }
	t.Cleanup(end)
	return p, end
}

func metricsAt(at netip.AddrPort) (string, error) {
	c := http.Client{Timeout: 10 * time.Second}
	res, err := c.Get("http://" + at.String() + "/metrics")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

func answers(t *testing.T, at netip.AddrPort, want string) {
	t.Helper()
	if got, err := metricsAt(at); err != nil || got != want {
		t.Errorf("at %s: %q, %v; want %q", at, got, err, want)
	}
}

func refuses(t *testing.T, at netip.AddrPort) {
	t.Helper()
	if got, err := metricsAt(at); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("at %s: %q, %v; want nobody there", at, got, err)
	}
}

func TestPublicMoves(t *testing.T) {
	p, end := publicThatRuns(t, "one")
	move := func(at netip.AddrPort) error { return p.move(t.Context(), at) }
	a, b := freeAddress(t), freeAddress(t)
	if err := move(a); err != nil {
		t.Fatal(err)
	}
	answers(t, a, "one")
	if err := move(a); err != nil {
		t.Error(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	other := busy.Addr().(*net.TCPAddr).AddrPort()
	if err := move(other); !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "api.listen: ") {
		t.Errorf("a busy port: %v", err)
	}
	if err := move(netip.MustParseAddrPort("192.0.2.1:8480")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("an address of somebody else: %v", err)
	}
	answers(t, a, "one")
	if err := move(b); err != nil {
		t.Error(err)
	}
	answers(t, b, "one")
	refuses(t, a)
	// Its own socket is in the way of one that includes it.
	wide := netip.AddrPortFrom(netip.IPv4Unspecified(), b.Port())
	if err := move(wide); err != nil {
		t.Error(err)
	}
	answers(t, b, "one")
	if err := move(b); err != nil {
		t.Error(err)
	}
	answers(t, b, "one")
	if err := move(netip.AddrPort{}); err != nil {
		t.Error(err)
	}
	refuses(t, b)
	if err := move(a); err != nil {
		t.Error(err)
	}
	answers(t, a, "one")
	end()
	refuses(t, a)
}

// TestPublicComesBack: an address that includes the present one cannot be had, since somebody else has a part of it.
func TestPublicComesBack(t *testing.T) {
	p, _ := publicThatRuns(t, "one")
	mine := freeAddress(t)
	if err := p.move(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	others, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), mine.Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	if err := p.move(t.Context(), netip.AddrPortFrom(netip.IPv4Unspecified(), mine.Port())); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	answers(t, mine, "one")
}

// TestPublicIsHandedOver without a moment in which nobody listens: who asks meanwhile is answered by the next one.
func TestPublicIsHandedOver(t *testing.T) {
	at := freeAddress(t)
	old, endOld := publicThatRuns(t, "old")
	if err := old.move(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	answers(t, at, "old")
	old.stop()
	answered := make(chan string, 1)
	go func() {
		text, err := metricsAt(at)
		if err != nil {
			text = err.Error()
		}
		answered <- text
	}()
	// Refused after all: the old one goes on.
	old.goOn()
	if text := <-answered; text != "old" {
		t.Errorf("asked while it stood still: %q", text)
	}
	old.stop()
	where, f, err := old.file()
	if err != nil || where != at || f == nil {
		t.Fatal(where, f, err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	go func() {
		text, err := metricsAt(at)
		if err != nil {
			text = err.Error()
		}
		answered <- text
	}()
	endOld()
	next, _ := publicThatRuns(t, "new")
	if err := next.use(at, ln); err != nil {
		t.Fatal(err)
	}
	if text := <-answered; text != "new" {
		t.Errorf("asked in between: %q", text)
	}
	answers(t, at, "new")
	if _, f, err := newPublic(slog.New(slog.DiscardHandler)).file(); f != nil || err != nil {
		t.Errorf("of none: %v, %v", f, err)
	}
}
