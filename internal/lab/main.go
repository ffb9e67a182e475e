package lab

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bothways/internal/lab/farside"
	"bothways/internal/lab/netns"
)

// Main has to be called first in a program that uses this package, TestMain included. Where the process is one that a
// world started, it does that work and ends.
func Main() {
	if os.Getenv(farside.RouterEnv) == "" {
		return
	}
	// A router ends when its parent does, and not at a Ctrl-C meant for the parent.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	os.Unsetenv(farside.RouterEnv)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := farside.RunRouter(os.NewFile(3, "control"), log); err != nil {
		log.Error("router ended", "error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// CanRaise says whether this process may raise worlds; the error is one line that names what is missing.
func CanRaise() error {
	n, err := netns.New("try")
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.Silence([]string{"lo"}); err != nil {
		return fmt.Errorf("nftables with netdev chains, ingress and egress, are needed: %w", err)
	}
	if err := n.Sysctl("ipv4/ip_forward", "1"); err != nil {
		return fmt.Errorf("/proc/sys/net has to be writable: %w", err)
	}
	return nil
}

const enteredEnv = "BOTHWAYS_LAB_ENTERED"

// Enter makes sure that worlds can be raised: as root in this process, else by running the program once more in a user
// namespace of its own. In the second case it returns that run's exit status, and done.
func Enter() (status int, done bool, err error) {
	why := CanRaise()
	if why == nil {
		return 0, false, nil
	}
	if !errors.Is(why, netns.ErrNotPermitted) || os.Getenv(enteredEnv) != "" {
		return 1, true, fmt.Errorf("cannot raise a world: %w%s", why, restriction())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), enteredEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// The terminal's signals reach both; this one only waits. SIGTERM is passed on.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := startLocked(cmd); err != nil {
		return 1, true, fmt.Errorf("cannot raise a world: not root, and no user namespace to be had: %w%s", err, restriction())
	}
	go func() {
		for s := range signals {
			if s != syscall.SIGINT {
				_ = cmd.Process.Signal(s) // it is gone already, or hears it
			}
		}
	}()
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		return exit.ExitCode(), true, nil
	} else if err != nil {
		return 1, true, err
	}
	return 0, true, nil
}

// restriction names the setting that usually forbids user namespaces.
func restriction() string {
	for _, s := range []struct{ file, forbids, hint string }{
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns is 1"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"},
		{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0"},
	} {
		if data, err := os.ReadFile(s.file); err == nil && strings.TrimSpace(string(data)) == s.forbids {
			return " (" + s.hint + "; or run as root)"
		}
	}
	return " (run as root)"
}
