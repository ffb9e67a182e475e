package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"bothways/internal/api"
	"bothways/internal/handover"
)

// takeOver begins as the daemon that another hands over to, on the descriptor that it gave.
func takeOver(ctx context.Context, file string, verbose bool, fd int, log *slog.Logger) error {
	wire, err := handover.Open(os.NewFile(uintptr(fd), "handover"))
	if err != nil {
		return err
	}
	defer wire.Close()
	if err := wire.Limit(time.Now().Add(prepareTime + 2*standTime)); err != nil {
		return err
	}
	d, err := prepare(ctx, file, verbose, log)
	if err != nil {
		_ = wire.Send(ready{Version: handoverVersion, Error: err.Error()}) // or the other is gone, and nobody asks
		return err
	}
	defer d.close()
	if err := wire.Send(ready{Version: handoverVersion}); err != nil {
		return err
	}
	var state handedState
	got, err := wire.Receive(&state)
	if err != nil {
		return fmt.Errorf("nothing was handed over: %w", err)
	}
	along := files(got)
	if err := d.take(ctx, &state, along); err != nil {
		_ = wire.Send(canTake{Error: err.Error()}) // or the other has given up
		return fmt.Errorf("what was handed over cannot be taken: %w", err)
	}
	defer d.lock.Close()
	along.close()
	// The end of the other is as good as its word: one that gives up kills this process before it closes the wire.
	if err := wire.Send(canTake{}); err == nil {
		var word letGo
		if _, err = wire.Receive(&word); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("the daemon before does not let go: %w", err)
		}
		_ = wire.Send(begins{})
	}
	log.Info("taken over", "from", state.PID, "sessions", len(state.Sessions))
	return d.run(ctx)
}

// prepare does all that can be done while another daemon runs.
func prepare(ctx context.Context, file string, verbose bool, log *slog.Logger) (*daemon, error) {
	c, warnings, err := loadToRun(file)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		log.Warn("configuration: " + w.String())
	}
	d, err := openDaemon(ctx, c, file, verbose, log)
	if err != nil {
		return nil, err
	}
	if d.found, err = d.adopt(ctx); err != nil {
		d.close()
		return nil, err
	}
	if err := dropPrivileges(); err != nil {
		log.Warn("running with more privileges than needed", "error", err)
	}
	return d, nil
}

// take makes everything of what was handed over. Nothing is read, written or said yet.
func (d *daemon) take(ctx context.Context, state *handedState, along files) (err error) {
	if err := state.check(); err != nil {
		return err
	}
	if state.Changed {
		if d.found, err = d.adopt(ctx); err != nil {
			return err
		}
	}
	lock, err := along.listener(state.Lock)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	var ok bool
	if d.lock, ok = lock.(*net.UnixListener); !ok {
		return fmt.Errorf("lock: a %T", lock)
	}
	if err := d.takeSocket(ctx, state, along); err != nil {
		return err
	}
	if err := d.takePublic(ctx, state, along); err != nil {
		return err
	}
	d.found.Handover = state.Engine
	if err := d.assemble(ctx); err != nil {
		return err
	}
	if state.BFD != nil {
		wire, err := along.at(state.BFDFile)
		if err == nil {
			err = d.bfd.Take(state.BFD, wire)
		}
		if err != nil {
			return fmt.Errorf("bfd: %w", err)
		}
		along[state.BFDFile] = nil // it is in use
	}
	for _, x := range state.Listens {
		if x.Listening.File, err = along.at(x.File); err == nil {
			err = d.speaker.listener.Take(x.Listening)
		}
		if err != nil {
			return err
		}
	}
	for _, x := range state.Sessions {
		nc, err := along.conn(x.File)
		if err == nil {
			err = d.speaker.take(x.Params, x.Handover, nc)
		}
		if err != nil {
			return fmt.Errorf("session %s: %w", x.Params.Key, err)
		}
	}
	return nil
}

// takePublic takes the TCP address that metrics are served on, or listens on another where the file says so.
func (d *daemon) takePublic(ctx context.Context, state *handedState, along files) error {
	at := d.cfg.API.Listen
	if !at.IsValid() || state.Public == nil || state.Public.Address != at {
		return d.public.move(ctx, at)
	}
	ln, err := along.listener(state.Public.File)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return d.public.use(at, ln)
}

// takeSocket takes the API's socket, or makes another where the file says so.
func (d *daemon) takeSocket(ctx context.Context, state *handedState, along files) error {
	ln, err := along.listener(state.API)
	if err == nil && d.cfg.API.Socket != state.Socket {
		ln.Close()
		ln, err = api.Listen(ctx, d.cfg.API.Socket)
	}
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	d.socket, err = newGate(ln)
	return err
}
