package lab

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bothways/internal/api"
	"bothways/internal/lab/world"
)

// EdgeOptions say how to run the edge.
type EdgeOptions struct {
	// Binary is the daemon's program.
	Binary string
	// Config replaces the configuration that fits the world.
	Config string
	// Args stand behind "run -c FILE".
	Args []string
	// Env is added to the environment.
	Env []string
	// Kept are files with their names that a service manager kept of the daemon before (sd_listen_fds(3)).
	Kept []KeptFile
}

// KeptFile is a file under a name.
type KeptFile struct {
	Name string
	File *os.File
}

// kept has a command begin with files: the number of the process, which it is told, is known when it runs.
func kept(cmd *exec.Cmd, files []KeptFile) *exec.Cmd {
	if len(files) == 0 {
		return cmd
	}
	wrapped := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`}, cmd.Args...)...)
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
		wrapped.ExtraFiles = append(wrapped.ExtraFiles, f.File)
	}
	wrapped.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	return wrapped
}

// edgeProcess is a daemon that runs, or ran.
type edgeProcess struct {
	process *os.Process
	ended   chan struct{}
	err     error // of its end; read once ended is closed
}

// ErrNoEdge says that no edge runs.
var ErrNoEdge = errors.New("no edge runs in this world")

// EdgeSocket is where the edge answers.
func (w *World) EdgeSocket() string { return filepath.Join(w.Dir, "edge.sock") }

// EdgeFile is the edge's configuration.
func (w *World) EdgeFile() string { return filepath.Join(w.Dir, "edge.yaml") }

// EdgeLog is what the edge wrote to its standard error, all its lives one after the other.
func (w *World) EdgeLog() string { return filepath.Join(w.Dir, "edge.log") }

// EdgeConfig is the configuration that fits the world, its password files written.
func (w *World) EdgeConfig() (string, error) {
	password := func(link string) string {
		return filepath.Join(w.Dir, strings.ReplaceAll(link, "/", "-")+".key")
	}
	for _, r := range w.Description.Routers {
		if r.Password != "" {
			if err := os.WriteFile(password(r.Link), []byte(r.Password+"\n"), 0o600); err != nil {
				return "", err
			}
		}
	}
	return w.Description.EdgeConfig(world.EdgeFiles{Socket: w.EdgeSocket(), Password: password}), nil
}

// StartEdge runs the daemon in the edge's namespace and waits until it answers.
func (w *World) StartEdge(ctx context.Context, o EdgeOptions) error {
	w.edgeMu.Lock()
	defer w.edgeMu.Unlock()
	if w.edge != nil {
		return errors.New("an edge runs already")
	}
	if err := w.writeEdgeConfig(o.Config); err != nil {
		return err
	}
	log, err := os.OpenFile(w.EdgeLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(o.Binary, append([]string{"run", "-c", w.EdgeFile()}, o.Args...)...)
	cmd = kept(cmd, o.Kept)
	cmd.Stderr, cmd.Stdout = log, log
	cmd.Env = append(cmd.Environ(), o.Env...)
	end, err := w.spaces[Edge].Start(cmd)
	if err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	p := &edgeProcess{process: cmd.Process, ended: make(chan struct{})}
	w.edge = p
	go func() {
		p.err = <-end
		close(p.ended)
	}()
	for {
		var status struct{}
		if w.Show(ctx, "status", &status) == nil {
			return nil
		}
		select {
		case <-p.ended:
			w.edge = nil
			return fmt.Errorf("edge: %w: %s", p.err, w.edgeLastWords())
		case <-ctx.Done():
			return fmt.Errorf("edge: it does not answer: %w: %s", ctx.Err(), w.edgeLastWords())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// WriteEdge writes the edge's configuration (the fitting one where it is empty), and tells the edge nothing.
func (w *World) WriteEdge(config string) error { return w.writeEdgeConfig(config) }

func (w *World) writeEdgeConfig(text string) error {
	own, err := w.EdgeConfig()
	if err != nil {
		return err
	}
	if text == "" {
		text = own
	}
	return os.WriteFile(w.EdgeFile(), []byte(text), 0o600)
}

// edgeLastWords is the end of the edge's log.
func (w *World) edgeLastWords() string {
	data, err := os.ReadFile(w.EdgeLog())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-800):]))
}

// ReloadEdge replaces the edge's configuration (by the fitting one where it is empty) and sends SIGHUP.
func (w *World) ReloadEdge(config string) error {
	if err := w.writeEdgeConfig(config); err != nil {
		return err
	}
	return w.SignalEdge(syscall.SIGHUP)
}

// SignalEdge sends the edge a signal.
func (w *World) SignalEdge(s os.Signal) error {
	w.edgeMu.Lock()
	defer w.edgeMu.Unlock()
	if w.edge == nil {
		return ErrNoEdge
	}
	return w.edge.process.Signal(s)
}

// KillEdge kills the edge (-9) and waits for its end.
func (w *World) KillEdge() error { return w.endEdge(syscall.SIGKILL) }

// StopEdge ends the edge in an orderly way (SIGTERM) and waits for its end; the error is that of its exit status.
func (w *World) StopEdge() error { return w.endEdge(syscall.SIGTERM) }

func (w *World) endEdge(s syscall.Signal) error {
	w.edgeMu.Lock()
	defer w.edgeMu.Unlock()
	if w.edge == nil {
		return ErrNoEdge
	}
	if err := w.edge.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-w.edge.ended:
	case <-time.After(time.Minute):
		return fmt.Errorf("edge: it does not end at %s", s)
	}
	err := w.edge.err
	w.edge = nil
	if s == syscall.SIGKILL {
		return nil
	}
	return err
}

func (w *World) closeEdge() {
	if err := w.KillEdge(); err != nil && !errors.Is(err, ErrNoEdge) {
		w.log.Error("edge not ended", "error", err)
	}
}

// Show asks the edge what `bothways show WHAT` does, and decodes the answer: a value of the API's types.
func (w *World) Show(ctx context.Context, what string, into any) error {
	what, query, _ := strings.Cut(what, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return err
	}
	return api.NewClient(w.EdgeSocket()).Get(ctx, what, values, into)
}
