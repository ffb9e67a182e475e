package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"bothways/internal/api"
	v1 "bothways/internal/api/v1"
)

// edgePID is the file that holds the number of a daemon that is nobody's child here, for the reaper.
const edgePID = "edge.pid"

// RestartEdge has the edge hand over to a new process, with another configuration (the same where it is empty), and waits
// until the old one has ended. Where the error is the edge's, the old one goes on.
func (w *World) RestartEdge(ctx context.Context, config string) (v1.Restarted, error) {
	w.edgeMu.Lock()
	defer w.edgeMu.Unlock()
	var done v1.Restarted
	if w.edge == nil {
		return done, ErrNoEdge
	}
	if config != "" {
		if err := w.writeEdgeConfig(config); err != nil {
			return done, err
		}
	}
	if err := api.NewClient(w.EdgeSocket()).Ask(ctx, "restart", struct{}{}, &done); err != nil {
		return done, err
	}
	next, err := adoptProcess(done.PID)
	if err != nil {
		return done, fmt.Errorf("edge: the process that took over: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.Dir, edgePID), []byte(strconv.Itoa(done.PID)+"\n"), 0o600); err != nil {
		return done, err
	}
	select {
	case <-w.edge.ended:
		err = w.edge.err
	case <-ctx.Done():
		err = fmt.Errorf("edge: the process that handed over does not end: %w", ctx.Err())
	}
	w.edge = next
	return done, err
}

// adoptProcess is a process that another one started.
func adoptProcess(pid int) (*edgeProcess, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	p := &edgeProcess{process: process, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				return // how it ended only its parent is told
			}
		}
	}()
	return p, nil
}
