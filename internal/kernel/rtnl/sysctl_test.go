package rtnl

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func mustSysctl(t testing.TB, h *Handle, key, value string) {
	t.Helper()
	if err := h.SetSysctl(key, value); err != nil {
		t.Fatal(err)
	}
}

func TestSysctl(t *testing.T) {
	h := open(t)
	ip(t, "link add er0.100 type veth peer name peer0")
	for _, key := range []string{"net.ipv4.conf.er0/100.rp_filter", "net/ipv4/conf/er0.100/rp_filter"} {
		for _, value := range []string{"2", "1"} {
			mustSysctl(t, h, key, value)
			if got, err := h.Sysctl(key); err != nil || got != value {
				t.Errorf("%s: %q, %v, want %s", key, got, err, value)
			}
		}
	}
	if got, err := h.Sysctl("net.ipv4.conf.lo.rp_filter"); err != nil {
		t.Errorf("%q %v", got, err)
	}
	for _, key := range []string{"net.ipv4.no_such_key", "net.ipv4.conf.er0.100.rp_filter"} {
		if err := h.SetSysctl(key, "1"); !errors.Is(err, ErrNotSettable) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := h.SetSysctl("net.ipv4.ip_forward", "sausage"); err == nil || errors.Is(err, ErrNotSettable) {
		t.Errorf("bad value: %v", err)
	}
	if _, err := h.Sysctl("net.../../../etc/passwd"); err == nil {
		t.Error("left /proc/sys")
	}
	// Another thread, in another namespace: the handle's is meant still.
	mustSysctl(t, h, "net.ipv4.ip_forward", "1")
	got := make(chan string)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			got <- err.Error()
			return
		}
		v, err := h.Sysctl("net.ipv4.ip_forward")
		if err != nil {
			v = err.Error()
		}
		got <- v
	}()
	if v := <-got; v != "1" {
		t.Errorf("from another namespace: %s", v)
	}
}
