package lab

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// startLocked starts a command from a thread that stays: what is tied to the death of its parent is tied to that thread.
func startLocked(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		select {}
	}()
	return <-started
}

// reaper removes a directory when this process ends, in whatever way, and ends a daemon that is nobody's child here: a
// shell that waits at a pipe whose other end only this process holds. It is a process group of its own, so that a Ctrl-C does not reach it.
type reaper struct {
	cmd  *exec.Cmd
	hold *os.File
}

func newReaper(dir string) (*reaper, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd := exec.Command("/bin/sh", "-c", `read -r line
pid=$(cat "$1/`+edgePID+`" 2>/dev/null) && grep -q "$1" "/proc/$pid/cmdline" 2>/dev/null && kill -9 "$pid"
rm -rf -- "$1"`, "sh", dir)
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		write.Close()
		return nil, err
	}
	return &reaper{cmd, write}, nil
}

// close lets the reaper do its work.
func (r *reaper) close() {
	r.hold.Close()
	_ = r.cmd.Wait() // what it could not remove is not there
}
