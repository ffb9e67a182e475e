package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace that this process holds.
type Namespace struct {
	Name string
	file *os.File
	*netlink.Handle
}

// ErrNotPermitted says that this process may not make namespaces.
var ErrNotPermitted = errors.New("not permitted to make a network namespace")

// New makes a namespace with its loopback up.
func New(name string) (*Namespace, error) {
	n := &Namespace{Name: name}
	done := make(chan error)
	// The thread stays locked, so that it ends with the goroutine instead of carrying the namespace to others.
	go func() {
		runtime.LockOSThread()
		done <- n.enterNew()
	}()
	if err := <-done; err != nil {
		n.Close()
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	return n, nil
}

func (n *Namespace) enterNew() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); errors.Is(err, unix.EPERM) {
		return ErrNotPermitted
	} else if err != nil {
		return err
	}
	var err error
	if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if n.Handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	lo, err := n.LinkByName("lo")
	if err != nil {
		return err
	}
	return n.LinkSetUp(lo)
}

// Close lets go of the namespace. It vanishes with the last socket and process in it.
func (n *Namespace) Close() {
	if n.Handle != nil {
		n.Handle.Close()
	}
	if n.file != nil {
		n.file.Close()
	}
}

// Do runs f on a thread inside the namespace. Sockets that f makes stay there; goroutines that it starts do not.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- n.do(f)
	}()
	return <-done
}

// do leaves the thread locked where the way back fails: the runtime then ends it.
func (n *Namespace) do(f func() error) error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("namespace %s: %w", n.Name, err)
	}
	err = f()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// Start runs a command inside the namespace. It is killed when this process ends, in whatever way: the kernel ties that
// to the thread that started it, so one thread stays with the command. ended gets the result of its end.
func (n *Namespace) Start(cmd *exec.Cmd) (ended <-chan error, err error) {
	started, end := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			started <- err
			return
		}
		err := cmd.Start()
		started <- err
		if err == nil {
			end <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("namespace %s: %w", n.Name, err)
	}
	return end, nil
}

// Sysctl sets a value below /proc/sys/net, such as ipv4/ip_forward.
func (n *Namespace) Sysctl(key, value string) error {
	return n.Do(func() error { return os.WriteFile("/proc/sys/net/"+key, []byte(value), 0) })
}

// File is the namespace's file, for netlink attributes.
func (n *Namespace) fd() int { return int(n.file.Fd()) }
