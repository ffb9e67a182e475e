package api

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPublicServesMetricsAlone: what changes something, or tells more, is not there by TCP.
func TestPublicServesMetricsAlone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "bothways_up 1\n") })
	go func() { served <- ServePublic(ctx, ln, metrics, slog.New(slog.DiscardHandler)) }()
	ask := func(method, path string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+ln.Addr().String()+path, strings.NewReader(`{"link":"er/primary","on":true}`))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if !res.Close {
			t.Errorf("%s %s: the connection is kept", method, path)
		}
		return res.StatusCode, string(text)
	}
	if code, text := ask("GET", "/metrics"); code != http.StatusOK || text != "bothways_up 1\n" {
		t.Errorf("metrics: %d %q", code, text)
	}
	for _, path := range []string{"/v1/drain", "/v1/reload", "/v1/restart", "/v1/stop", "/v1/status", "/v1/routes", "/"} {
		for _, method := range []string{"GET", "POST"} {
			if code, text := ask(method, path); code != http.StatusNotFound {
				t.Errorf("%s %s: %d %q, want nothing there", method, path, code, text)
			}
		}
	}
	if code, _ := ask("POST", "/metrics"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics: %d", code)
	}
	end()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// pipes is a listener in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestIdleConnectionsKeepNobodyOut for longer than one of them may be silent, and there are not more of them at a time.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := make(pipes)
		ctx, end := context.WithCancel(t.Context())
		served := make(chan error, 1)
		metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {})
		go func() { served <- ServePublic(ctx, ln, metrics, slog.New(slog.DiscardHandler)) }()
		for range maxPublic {
			ours, theirs := net.Pipe()
			ln <- theirs
			defer ours.Close()
		}
		began := time.Now()
		ours, theirs := net.Pipe()
		defer ours.Close()
		ln <- theirs // taken once one of the others is gone
		if d := time.Since(began); d != publicRead {
			t.Errorf("the next one was taken after %s, want %s", d, publicRead)
		}
		if _, err := io.WriteString(ours, "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(ours), nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%+v, %v", res, err)
		}
		end()
		close(ln)
		<-served
	})
}
