package rtnl

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// inside calls fn in the handle's network namespace. /proc/sys shows the namespace of the thread that reads it; in
// the daemon that is always the handle's, and fn is simply called.
func (h *Handle) inside(fn func() error) error {
	var own, want unix.Stat_t
	if err := unix.Fstat(h.ns, &want); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	runtime.LockOSThread()
	err := unix.Stat("/proc/thread-self/ns/net", &own)
	if err == nil && own.Ino == want.Ino && own.Dev == want.Dev {
		defer runtime.UnlockOSThread()
		return fn()
	}
	runtime.UnlockOSThread()
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nobody inherits its namespace.
		runtime.LockOSThread()
		if err := unix.Setns(h.ns, unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		result <- fn()
	}()
	return <-result
}
