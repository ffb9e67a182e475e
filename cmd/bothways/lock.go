package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// lock makes this the only daemon of its network namespace: two would undo each other's work in the kernel. The lock is
// a socket in the abstract name space, which belongs to the network namespace and vanishes with its process.
func lock() (*net.UnixListener, error) {
	ln, err := net.Listen("unix", "@bothways.daemon")
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.New("another bothways daemon runs in this network namespace")
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return ln.(*net.UnixListener), nil
}
