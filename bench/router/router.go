package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"bothways/bench/site"
)

// Setup is what a router shall do at a site.
type Setup struct {
	Site *site.Site
	// Kernel: the best routes go into the kernel. Bothways has no other way of working.
	Kernel bool
	// Whole: no route may be left out of the kernel (Bothways' compress: false).
	Whole bool
	IPv6  bool
	// BFD with every neighbor at this interval, times three; zero: none.
	BFD time.Duration
	// Enhanced: the neighbors mark the end of what they say again (RFC 7313).
	Enhanced bool
	// Probe is a target beyond each neighbor, probed every 100 ms (Bothways only); invalid: none.
	Probe netip.Addr
	// NAT: what comes from inside is translated (Bothways only).
	NAT bool
}

// Router is a router that runs, or can be started.
type Router interface {
	Name() string
	// Missing says why it cannot run here; empty: it can.
	Missing() string
	// Version is what it says itself.
	Version() string
	Start(ctx context.Context, s Setup) error
	// Has says by which neighbor's address the router uses exactly this prefix; invalid: it does not.
	Has(ctx context.Context, p netip.Prefix) (netip.Addr, error)
	// Usage is of all of its processes together.
	Usage() (Usage, error)
	// Stop ends it. Kill ends it without giving it time.
	Stop()
	Kill()
}

// process is what routers have in common: their processes and the place of their files.
type process struct {
	dir   string
	ended []*end
	cmds  []*exec.Cmd
}

// end is that of a process: err holds once done is closed.
type end struct {
	done chan struct{}
	err  error
}

// begin makes the place for files.
func (p *process) begin(name string) error {
	dir, err := os.MkdirTemp("", "bench-"+name+"-")
	if err != nil {
		return err
	}
	p.dir, p.cmds, p.ended = dir, nil, nil
	// Some routers drop privileges, and still make files here.
	return os.Chmod(dir, 0o777)
}

func (p *process) file(name, text string) (string, error) {
	path := filepath.Join(p.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// run starts a program at a site's edge; what it says goes into a file.
func (p *process) run(s *site.Site, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	return p.start(s, cmd)
}

func (p *process) start(s *site.Site, cmd *exec.Cmd) error {
	ended, err := s.Edge.Start(cmd)
	if err != nil {
		return err
	}
	p.watch(cmd, ended)
	return nil
}

func (p *process) watch(cmd *exec.Cmd, ended <-chan error) {
	e := &end{done: make(chan struct{})}
	go func() {
		e.err = <-ended
		close(e.done)
	}()
	p.cmds, p.ended = append(p.cmds, cmd), append(p.ended, e)
}

// await calls ready until it succeeds, or the process ends, or a while has passed.
func (p *process) await(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended[len(p.ended)-1].done:
			return fmt.Errorf("it ended: %w: %s", errors.Join(p.ended[len(p.ended)-1].err, err), p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w: %s", err, p.lastWords())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *process) lastWords() string {
	b, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return ""
	}
	return string(b[max(0, len(b)-600):])
}

// Usage implements Router.
func (p *process) Usage() (Usage, error) {
	var roots []int
	for _, c := range p.cmds {
		roots = append(roots, c.Process.Pid)
	}
	return usage(roots)
}

// Stop implements Router.
func (p *process) Stop() { p.finish(os.Interrupt) }

// Kill implements Router.
func (p *process) Kill() { p.finish(os.Kill) }

func (p *process) finish(s os.Signal) {
	var roots []int
	for _, c := range p.cmds {
		roots = append(roots, c.Process.Pid)
	}
	family := tree(roots)
	for i := len(p.cmds) - 1; i >= 0; i-- {
		_ = p.cmds[i].Process.Signal(s) // it may have ended
	}
	for i, c := range p.cmds {
		select {
		case <-p.ended[i].done:
		case <-time.After(5 * time.Second):
			_ = c.Process.Kill()
			<-p.ended[i].done
		}
	}
	// Children that outlived their parent are not left behind.
	for _, pid := range family {
		await(pid, time.Second)
	}
	os.RemoveAll(p.dir)
	p.cmds, p.ended = nil, nil
}

func look(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/lib/frr"} {
		if path := filepath.Join(dir, program); executable(path) {
			return path
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func missing(programs ...string) string {
	for _, p := range programs {
		if look(p) == "" {
			return p + " is not installed"
		}
	}
	return ""
}
