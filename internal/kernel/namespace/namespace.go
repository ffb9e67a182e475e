package namespace

import (
	"fmt"
	"runtime"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const self = "/proc/thread-self/ns/net"

// Open returns a descriptor of the calling thread's network namespace.
func Open() (int, error) {
	ns, err := unix.Open(self, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open own network namespace: %w", err)
	}
	return ns, nil
}

// Do calls fn on a thread that is in the namespace, and returns fn's error.
func Do(ns int, fn func() error) error {
	var want, have unix.Stat_t
	if err := unix.Fstat(ns, &want); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	runtime.LockOSThread()
	err := unix.Stat(self, &have)
	if err == nil && want.Dev == have.Dev && want.Ino == have.Ino {
		defer runtime.UnlockOSThread()
		return fn()
	}
	runtime.UnlockOSThread()
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nobody inherits its namespace.
		runtime.LockOSThread()
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// Dial opens a netlink socket in the namespace. pid 0 lets the kernel choose the port.
func Dial(ns, family int, pid uint32) (c *netlink.Conn, err error) {
	err = Do(ns, func() (err error) {
		c, err = netlink.Dial(family, &netlink.Config{PID: pid})
		return err
	})
	return c, err
}
