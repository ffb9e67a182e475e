package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Times of a Process.
const (
	restartAfter = time.Second     // between two children
	endWithin    = 2 * time.Second // for a child to end by itself
)

// Process is a Speaker in a process of its own. A goroutine that has to share a runtime with others waits for them: for
// its turn behind each that is ready to run, 10 ms a head, and for all of them to stop when garbage is collected. With
// four busy goroutines on two processors that is more than 100 ms, which a neighbor at 50 ms × 3 does not forgive. The
// kernel shares out processors better.
//
// If the child dies its sessions make no statement until another has brought them up again.
type Process struct {
	log     *slog.Logger
	sink    func(Event)
	command []string
	changed chan struct{} // one token: want is another one

	mu   sync.Mutex // guards what follows: Run writes, others read, but for want
	want []Config
	last report
	said map[string]news // the last Up or Down of each session
	// taken is a child that another process started, for Run to go on with.
	taken *wire

	keep   func(*os.File) // the wire to a child that runs, or nil; nil: nobody keeps it
	unsure bool           // the child that was taken over was not handed over: what it said is not known

	freezes chan freeze
	thaw    chan struct{} // of the freeze under way; guarded by mu
}

// NewProcess is New for a process: the command, a path and arguments, must call Serve with what it has as file
// descriptor 3. The sink is called from one goroutine; it may take its time, the sessions do not wait for it.
func NewProcess(log *slog.Logger, sink func(Event), command ...string) *Process {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Process{log: log, sink: sink, command: command, changed: make(chan struct{}, 1), said: map[string]news{}, freezes: make(chan freeze)}
}

// Set is that of Speaker.
func (p *Process) Set(list []Config) error {
	if err := New(nil, nil).Set(list); err != nil {
		return err
	}
	p.mu.Lock()
	p.want = slices.Clone(list)
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return nil
}

// Status is that of Speaker, as it was 200 ms ago at most.
func (p *Process) Status() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.last.Status)
}

// Stats is that of Speaker, as it was 200 ms ago at most.
func (p *Process) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.Stats
}

// Run keeps a child until ctx is done, and returns nil then.
func (p *Process) Run(ctx context.Context) error {
	for {
		err := p.child(ctx)
		if ctx.Err() != nil {
			return nil
		}
		p.log.Error("bfd process ended; starting another", "error", err)
		p.lost()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartAfter):
		}
	}
}

// child runs one child until it or ctx ends.
func (p *Process) child(ctx context.Context) error {
	w, wait, err := p.begin()
	if err != nil {
		return err
	}
	if p.keep != nil {
		p.keep(w.conn)
	}
	heard := make(chan struct{})
	go func() { defer close(heard); p.hear(w) }()
	out := json.NewEncoder(w.conn)
	known := wait != nil // what is wanted: to a child that was taken over nothing is said before
	for first := true; ; first = false {
		if known {
			p.mu.Lock()
			want := p.want
			p.mu.Unlock()
			if err := out.Encode(order{want}); err != nil {
				break
			}
		}
		if ctx.Err() != nil && !first {
			break
		}
		select {
		case <-p.changed:
			known = true
			continue
		case f := <-p.freezes:
			if p.standStill(ctx, f, w, heard) {
				continue
			}
			// It is another process's by now.
			w.conn.Close()
			<-heard
			return nil
		case <-ctx.Done():
			continue // and say what was Set last
		case <-heard:
		}
		break
	}
	if p.keep != nil {
		p.keep(nil)
	}
	// The end of orders is what it waits for.
	if raw, err := w.conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
	if wait == nil {
		late := time.AfterFunc(endWithin, func() { w.conn.Close() })
		<-heard
		late.Stop()
		w.conn.Close()
		return errors.New("it was started by an earlier daemon")
	}
	err = wait()
	<-heard
	w.conn.Close()
	return err
}

// begin starts a child, or goes on with the one that was taken over; then wait is nil.
func (p *Process) begin() (w *wire, wait func() error, err error) {
	p.mu.Lock()
	w, p.taken = p.taken, nil
	p.mu.Unlock()
	if w != nil {
		return w, nil, nil
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, nil, fmt.Errorf("bfd: start process: %w", err)
	}
	return &wire{conn: ours}, func() error {
		late := time.AfterFunc(endWithin, func() { cmd.Process.Kill() })
		defer late.Stop()
		return cmd.Wait()
	}, nil
}

// hear takes what the child tells, until it ends.
func (p *Process) hear(w *wire) {
	p.repeat()
	for {
		line, err := w.line()
		if errors.Is(err, os.ErrDeadlineExceeded) && w.halt() {
			continue
		}
		if err != nil {
			return
		}
		var n news
		if err := json.Unmarshal(line, &n); err != nil {
			if p.unsure {
				continue // the rest of a line of which the daemon that died had read the beginning
			}
			p.log.Error("bfd process is not understood", "error", err)
			return
		}
		switch {
		case n.Report != nil:
			p.mu.Lock()
			p.last = *n.Report
			p.mu.Unlock()
			p.recovered(n.Report)
		case n.Up != nil:
			p.judged(*n.Up, n.Up.Name, n)
		case n.Down != nil:
			p.judged(*n.Down, n.Down.Name, n)
		}
	}
}

func (p *Process) judged(e Event, name string, n news) {
	p.mu.Lock()
	p.said[name] = n
	p.mu.Unlock()
	p.sink(e)
}

// lost takes back what a child had said that is gone.
func (p *Process) lost() {
	now := time.Now()
	p.mu.Lock()
	var gone []string
	for name, n := range p.said {
		if n.Up != nil {
			gone = append(gone, name)
		}
	}
	clear(p.said)
	p.last = report{}
	p.mu.Unlock()
	slices.Sort(gone)
	for _, name := range gone {
		p.sink(Down{Name: name, Reason: "the bfd process ended", Admin: true, At: now, Due: now})
	}
}

// pair makes two ends of a wire.
func pair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("make socket pair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, os.NewSyscallError("make socket pair", err)
	}
	return os.NewFile(uintptr(fds[0]), "bfd"), os.NewFile(uintptr(fds[1]), "bfd"), nil
}
