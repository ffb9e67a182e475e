package api

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
)

// TestTheLastAnswerIsGiven: a request that ends the daemon is answered before Serve returns, and with it the process ends.
func TestTheLastAnswerIsGiven(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var answered atomic.Bool
	served := make(chan bool, 1)
	go func() {
		err := Serve(ctx, ln, Deps{Log: slog.New(slog.DiscardHandler), Restart: func(context.Context) (v1.Restarted, error) {
			cancel()
			time.Sleep(100 * time.Millisecond) // long enough for Serve to return, if it would
			answered.Store(true)
			return v1.Restarted{PID: 7}, nil
		}})
		served <- answered.Load() && err == nil
	}()
	var done v1.Restarted
	if err := NewClient(socket).Ask(t.Context(), "restart", struct{}{}, &done); err != nil || done.PID != 7 {
		t.Errorf("%+v, %v", done, err)
	}
	if !<-served {
		t.Error("it returned before it had answered")
	}
}
