package nft

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// missingTool ends a test that this machine cannot run; in CI that is a failure.
func missingTool(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// open moves the test to a network namespace of its own and opens a handle there. The thread stays locked and ends
// with the test's goroutine, so that no other test inherits the namespace.
func open(t testing.TB) *Handle {
	t.Helper()
	if os.Geteuid() != 0 {
		missingTool(t, "needs root for network namespaces")
	}
	for _, tool := range []string{"nft", "ip", "nsenter", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			missingTool(t, "needs "+tool)
		}
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		missingTool(t, "cannot make a network namespace: "+err.Error())
	}
	h, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// cmd runs a command given as one line.
func cmd(t testing.TB, line string) string {
	t.Helper()
	f := strings.Fields(line)
	return run(t, f[0], f[1:]...)
}

// otherNetns makes another namespace and returns the process id that holds it.
func otherNetns(t testing.TB) string {
	t.Helper()
	holder := exec.Command("unshare", "--net", "sleep", "1000")
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	pid := strconv.Itoa(holder.Process.Pid)
	own, _ := os.Readlink("/proc/thread-self/ns/net")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if other, err := os.Readlink("/proc/" + pid + "/ns/net"); err == nil && other != own {
			return pid
		}
		if time.Now().After(end) {
			t.Fatal("no second namespace within 10 s")
		}
	}
}

func prefixes(s ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
