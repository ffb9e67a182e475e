package rtnl

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// missing ends a test that this machine cannot run; in CI that is a failure.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// enterNetns moves the test to a network namespace of its own. The thread stays locked and ends with the test's
// goroutine, so that no other test inherits the namespace.
func enterNetns(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "needs root for network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		missing(t, "needs ip of iproute2")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		missing(t, "cannot make a network namespace: "+err.Error())
	}
	ip(t, "link set lo up")
}

// open enters a namespace and opens a handle in it.
func open(t testing.TB) *Handle {
	t.Helper()
	enterNetns(t)
	h, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// run runs a command in the test's namespace and returns what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func ip(t testing.TB, args string) string {
	t.Helper()
	return run(t, "ip", strings.Fields(args)...)
}

// lines returns the sorted lines of a command's output without the white space around and inside them.
func lines(out string) []string {
	var l []string
	for _, s := range strings.Split(out, "\n") {
		if s = strings.Join(strings.Fields(s), " "); s != "" {
			l = append(l, s)
		}
	}
	slices.Sort(l)
	return l
}

// neighborNetns makes a second namespace and returns the process id that holds it.
func neighborNetns(t testing.TB) string {
	t.Helper()
	cmd := exec.Command("unshare", "--net", "sleep", "1000")
	if err := cmd.Start(); err != nil {
		missing(t, "needs unshare of util-linux: "+err.Error())
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	pid := strconv.Itoa(cmd.Process.Pid)
	own, _ := os.Readlink("/proc/thread-self/ns/net")
	eventually(t, "second namespace", func() bool {
		other, err := os.Readlink("/proc/" + pid + "/ns/net")
		return err == nil && other != own
	})
	return pid
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 90 s", what)
		}
	}
}

func index(t testing.TB, name string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.SplitN(ip(t, "-o link show dev "+name), ":", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
