package netnstest

import (
	"crypto/rand"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Missing ends a test that this machine cannot run; in CI that is a failure.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Need ends a test where it may not make network namespaces, or a program of a Debian package is missing.
func Need(t testing.TB, program, pkg string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root for network namespaces")
	}
	if _, err := exec.LookPath(program); err != nil {
		Missing(t, "%s is missing: install the Debian package %s", program, pkg)
	}
}

// Add makes n namespaces that have a name, with lo up, for as long as the test runs. No other test has those names.
func Add(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for range n {
		name := "test-" + rand.Text()
		Run(t, "ip", "netns", "add", name)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
		Run(t, "ip", "-n", name, "link", "set", "lo", "up")
		out = append(out, name)
	}
	return out
}

// Run runs a command and returns what it prints. The test ends where the command fails.
func Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Within runs f on a thread of its own in a namespace that has a name, and does nothing where that is gone. The thread ends with f.
func Within(name string, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
		f()
	}()
	<-done
}

// Enter moves the test to a namespace of its own. The thread stays locked and ends with the test's goroutine, so that no other test
// inherits the namespace.
func Enter(t testing.TB) {
	t.Helper()
	Need(t, "ip", "iproute2")
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		Missing(t, "cannot make a network namespace: %v", err)
	}
}

// Other makes one more namespace and returns the number of the process that holds it.
func Other(t testing.TB) string {
	t.Helper()
	holder := exec.Command("unshare", "--net", "sleep", "1000")
	if err := holder.Start(); err != nil {
		Missing(t, "needs unshare of util-linux: %v", err)
	}
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	pid := strconv.Itoa(holder.Process.Pid)
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(time.Millisecond) {
		if other, err := os.Readlink("/proc/" + pid + "/ns/net"); err == nil && other != own {
			return pid
		}
		if time.Now().After(end) {
			t.Fatal("no second namespace within 90 s")
		}
	}
}
