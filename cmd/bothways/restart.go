package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bothways/internal/api"
	v1 "bothways/internal/api/v1"
	"bothways/internal/engine"
	"bothways/internal/handover"
)

func restartCommand(socket *string) *cobra.Command {
	return &cobra.Command{
		Use:   "restart",
		Short: "Hand over to a new process of the program and the file as they are now, without a neighbor noticing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var done v1.Restarted
			if err := api.NewClient(*socket).Ask(cmd.Context(), "restart", struct{}{}, &done); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "process %d has taken over from %d: everything stood still for %d ms\n", done.PID, done.Before, done.Still)
			return err
		},
	}
}

// Times of a restart. While it stands still nothing is decided and no keepalive sent, so that must be short beside any hold
// time; a neighbor's KEEPALIVE goes out before and after.
const (
	prepareTime = 25 * time.Second // for the new process to be ready
	standTime   = 4 * time.Second  // for everything to stand still, and to be taken
)

// restart hands over to a new process. An error means that this one goes on as before.
func (d *daemon) restart(ctx context.Context) (done v1.Restarted, err error) {
	if err := d.begin(); err != nil {
		return done, err
	}
	defer func() {
		if err != nil {
			d.done()
			d.tell(engine.Happened{At: time.Now(), Kind: "restart", Subject: "process", Text: "refused: " + err.Error()})
		}
	}()
	if err := d.speaker.canFreeze(); err != nil {
		return done, err
	}
	sequence := d.engine.Snapshot().Sequence
	next, err := startNext(ctx, d.file, d.verbose)
	if err != nil {
		return done, err
	}
	defer next.wire.Close()
	if err := next.ready(); err != nil {
		return done, errors.Join(err, next.kill())
	}
	began := time.Now()
	if err := d.handTo(ctx, next, sequence); err != nil {
		err = errors.Join(err, next.kill())
		d.thaw()
		return done, err
	}
	done = v1.Restarted{PID: next.cmd.Process.Pid, Before: os.Getpid(), Still: time.Since(began).Milliseconds()}
	d.log.Info("handed over", "pid", done.PID, "stood_still", time.Since(began))
	if err := d.kept.Tell(fmt.Sprintf("MAINPID=%d", done.PID)); err != nil {
		d.log.Warn("cannot tell the service manager", "error", err)
	}
	d.handed <- struct{}{}
	return done, nil
}

// begin keeps a reload and a restart apart: each needs the other's work as a whole.
func (d *daemon) begin() error {
	select {
	case d.busy <- struct{}{}:
		return nil
	default:
		return errors.New("a restart or a reload is under way")
	}
}

func (d *daemon) done() { <-d.busy }

// handTo stands still, and lets go of everything once the other process can take it.
func (d *daemon) handTo(ctx context.Context, next *nextProcess, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, standTime)
	defer cancel()
	until, _ := ctx.Deadline()
	if err := next.wire.Limit(until); err != nil {
		return err
	}
	state, along, err := d.freeze(ctx)
	defer along.close()
	if err != nil {
		return err
	}
	k := d.loop.Status()
	state.Changed = k.Pending > 0 || d.engine.Snapshot().Sequence != sequence
	if err := next.wire.Send(state, along...); err != nil {
		return next.died(err)
	}
	var can canTake
	if _, err := next.wire.Receive(&can); err != nil {
		return next.died(err)
	}
	if can.Error != "" {
		return errors.New(can.Error)
	}
	if err := next.wire.Send(letGo{}); err != nil {
		return next.died(err)
	}
	var b begins
	if _, err := next.wire.Receive(&b); err != nil {
		return next.died(err)
	}
	return nil
}

// freeze has everything that decides, speaks or writes stand still, and gives what the next daemon goes on with.
func (d *daemon) freeze(ctx context.Context) (state *handedState, along files, err error) {
	state = &handedState{Version: handoverVersion, PID: os.Getpid(), Socket: d.cfg.API.Socket}
	d.socket.stop()
	d.public.stop()
	// BFD and the sessions before the engine: their last words still get there.
	h, wire, err := d.bfd.Freeze(ctx)
	if err != nil {
		return nil, along, err
	}
	if state.BFD = h; h != nil {
		state.BFDFile = along.add(wire)
	}
	if state.Sessions, err = d.speaker.freeze(ctx, &along); err != nil {
		return nil, along, err
	}
	listening, err := d.speaker.listener.Sockets()
	for _, x := range listening {
		state.Listens = append(state.Listens, handedListen{x, along.add(x.File)})
	}
	if err != nil {
		return nil, along, err
	}
	decided, thaw, err := d.engine.Freeze(ctx)
	if err != nil {
		return nil, along, err
	}
	state.Engine, d.resume = decided, append(d.resume, thaw)
	resume, err := d.loop.Pause(ctx)
	if err != nil {
		return nil, along, err
	}
	d.resume = append(d.resume, resume)
	for _, x := range []struct {
		to   *int
		from interface{ File() (*os.File, error) }
	}{{&state.API, d.socket}, {&state.Lock, d.lock}} {
		f, err := x.from.File()
		if err != nil {
			return nil, along, err
		}
		*x.to = along.add(f)
	}
	if at, f, err := d.public.file(); err != nil {
		return nil, along, err
	} else if f != nil {
		state.Public = &handedPublic{at, along.add(f)}
	}
	return state, along, nil
}

// thaw has everything go on.
func (d *daemon) thaw() {
	for _, resume := range d.resume {
		resume()
	}
	d.resume = nil
	d.speaker.thaw()
	d.bfd.Thaw()
	d.socket.goOn()
	d.public.goOn()
}

// leave ends this process after everything is another's: nothing is said to anybody, nothing is written.
func (d *daemon) leave() {
	d.log.Info("leaving everything to the next process")
	d.socket.leave()
	d.endEngine()
	d.endLoop()
	d.endSession()
}

// nextProcess is a daemon that is to take over.
type nextProcess struct {
	cmd   *exec.Cmd
	wire  *handover.Conn
	ended chan struct{}
	err   error // of its end; read once ended is closed
}

// startNext starts the program that is in place of this one's file now, which an upgrade may have replaced.
func startNext(ctx context.Context, file string, verbose bool) (*nextProcess, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	program = strings.TrimSuffix(program, " (deleted)") // the kernel's word for a file that was replaced
	wire, theirs, err := handover.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	args := []string{"run", "-c", file, "--take-over", "3"}
	if verbose {
		args = append(args, "-v")
	}
	n := &nextProcess{cmd: exec.Command(program, args...), wire: wire, ended: make(chan struct{})}
	n.cmd.ExtraFiles = []*os.File{theirs}
	n.cmd.Stdout, n.cmd.Stderr = os.Stdout, os.Stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: inheritedCapabilities()}
	if err := n.cmd.Start(); err != nil {
		wire.Close()
		return nil, fmt.Errorf("start the new process: %w", err)
	}
	go func() {
		n.err = n.cmd.Wait()
		close(n.ended)
	}()
	return n, nil
}

// ready waits until it is, or says why it will not be.
func (n *nextProcess) ready() error {
	if err := n.wire.Limit(time.Now().Add(prepareTime)); err != nil {
		return err
	}
	var r ready
	if _, err := n.wire.Receive(&r); err != nil {
		return n.died(err)
	}
	switch {
	case r.Error != "":
		return errors.New(r.Error)
	case r.Version != handoverVersion:
		return fmt.Errorf("the new program takes version %d of what is handed over, this one gives %d: stop this one and start that", r.Version, handoverVersion)
	}
	return nil
}

// died says why nothing more comes from it.
func (n *nextProcess) died(err error) error {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-n.ended:
		return fmt.Errorf("the new process ended before it had taken over: %w", errors.Join(n.err, err))
	case <-t.C:
		return fmt.Errorf("the new process: %w", err)
	}
}

// kill ends it, and returns when it has ended.
func (n *nextProcess) kill() error {
	if err := n.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-n.ended
	return nil
}
