package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keptCapabilities are what the work needs: routes and nftables, raw packets, port 179.
func keptCapabilities() []uint {
	return []uint{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE}
}

// inheritedCapabilities are those that a process without user id 0 must hand to its children by name, or they have none.
func inheritedCapabilities() []uintptr {
	if os.Geteuid() == 0 {
		return nil
	}
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil
	}
	var out []uintptr
	for _, c := range keptCapabilities() {
		if data[c/32].Permitted&(1<<(c%32)) != 0 {
			out = append(out, uintptr(c))
		}
	}
	return out
}

// dropPrivileges gives up every capability but those, in every thread, for good.
func dropPrivileges() error {
	var data [2]unix.CapUserData
	for _, c := range keptCapabilities() {
		data[c/32].Permitted |= 1 << (c % 32)
		data[c/32].Effective |= 1 << (c % 32)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if errno != 0 {
		return fmt.Errorf("drop privileges: %w", errno)
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
		return fmt.Errorf("drop privileges: no new privileges: %w", errno)
	}
	return nil
}
