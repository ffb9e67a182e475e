package netnstest

import (
	"bytes"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Daemon is a program that runs in a namespace until the test ends, and what it prints.
type Daemon struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu sync.Mutex // guards b: the program's pipe writes, tests read
	b  bytes.Buffer
}

// Start starts a program that stays in the foreground. Where the test fails, its last words are logged.
func Start(t testing.TB, namespace string, args ...string) *Daemon {
	t.Helper()
	d := &Daemon{cmd: exec.Command("ip", append([]string{"netns", "exec", namespace}, args...)...), ended: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = d, d
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	d.cmd.WaitDelay = time.Second
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.cmd.Wait(); close(d.ended) }()
	t.Cleanup(func() {
		d.Stop(syscall.SIGTERM)
		if s := d.Output(); t.Failed() {
			t.Logf("%s said:\n%s", args[0], s[max(0, len(s)-4000):])
		}
	})
	return d
}

// Stop ends it by a signal, and kills it where it takes no notice. It may have ended before.
func (d *Daemon) Stop(s syscall.Signal) {
	select {
	case <-d.ended:
		return
	default:
	}
	syscall.Kill(-d.cmd.Process.Pid, s)
	select {
	case <-d.ended:
	case <-time.After(3 * time.Second):
		syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		<-d.ended
	}
}

// Write takes what it prints.
func (d *Daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.Write(p)
}

// Output is what it has printed until now.
func (d *Daemon) Output() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.String()
}
