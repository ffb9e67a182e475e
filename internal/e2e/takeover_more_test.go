package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bothways/internal/lab"
)

// TestRestartKeepsADeadLinkDead: what probes found out is known to the next process too, in the middle of an up delay; and what is up
// stays up.
func TestRestartKeepsADeadLinkDead(t *testing.T) {
	need(t, "nft", "nftables")
	w := raise(t, withoutGracefulRestart)
	target := address(t, w, "registry", false)
	edgeWith(t, w, func(c string) string {
		track := fmt.Sprintf("    track: {probes: [{icmp: %s}, {icmp: 13.70.64.20}], every: 100ms, down-after: 3, up-after: 3, up-delay: 6s}\n", target)
		return strings.Replace(c, "  isp-a:\n", "  isp-a:\n"+track, 1)
	})
	settled(t, w)
	trackIs(t, w, "isp-a/main", "probes", "up")
	before := since(t, w)
	inRouter(t, w, "isp-a", "nft", "add table inet dead; add chain inet dead f { type filter hook forward priority 0; policy drop; }")
	trackIs(t, w, "isp-a/main", "probes", "down")
	down, err := track(within(t), w, "isp-a/main", "probes")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := w.Stream(t.Context(), "client", target, 2000)
	if err != nil {
		t.Fatal(err)
	}
	waitReturned(t, stream, 1000)
	for range 2 {
		if _, err := w.RestartEdge(within(t), ""); err != nil {
			t.Fatal(err)
		}
		settledOrDrained(t, w)
		x, err := track(within(t), w, "isp-a/main", "probes")
		if err != nil || x.State != "down" || !x.Since.Equal(down.Since) {
			t.Errorf("after the restart the probes of a dead link are %+v, before %+v (%v)", x, down, err)
		}
		if a, err := w.Ask(within(t), "client", target); err != nil || a.Via != "isp-b" {
			t.Errorf("%+v, %v, want isp-b", a, err)
		}
	}
	waitReturned(t, stream, 1000)
	if l := stream.Stop(); l.Out+l.Back != 0 {
		t.Errorf("%s", l)
	}
	inRouter(t, w, "isp-a", "nft", "delete", "table", "inet", "dead")
	trackIs(t, w, "isp-a/main", "probes", "up")
	via(t, w, "client", "registry", "isp-a")
	unchanged(t, w, before)
	if log := eventLog(t, w); strings.Contains(log, "repaired") || strings.Count(log, "probes down: ") != 1 || strings.Count(log, "probes up: ") != 1 {
		t.Errorf("one way down and one up were to be seen, and no repair:\n%s", log)
	}
}

// TestRestartTellsTheServiceManager: of the new process, and that it is ready.
func TestRestartTellsTheServiceManager(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	path := filepath.Join(w.Dir, "notify.sock")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	said := make(chan string, 10)
	go func() {
		for buf := make([]byte, 1024); ; {
			n, err := manager.Read(buf)
			if err != nil {
				return
			}
			if text := string(buf[:n]); !strings.HasPrefix(text, "FDSTORE") {
				said <- text
			}
		}
	}()
	if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: binary, Env: []string{"NOTIFY_SOCKET=" + path}}); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	done, err := w.RestartEdge(within(t), "")
	if err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	var got []string
	for len(got) < 3 {
		select {
		case text := <-said:
			got = append(got, text)
		case <-time.After(patience):
			t.Fatalf("nothing after %q", got)
		}
	}
	has := func(want string) bool {
		for _, g := range got {
			if g == want {
				return true
			}
		}
		return false
	}
	for _, want := range []string{
		fmt.Sprintf("READY=1\nMAINPID=%d", done.Before), fmt.Sprintf("MAINPID=%d", done.PID), fmt.Sprintf("READY=1\nMAINPID=%d", done.PID),
	} {
		if !has(want) {
			t.Errorf("%q is not among %q", want, got)
		}
	}
	// The process that took over ends as any other.
	if out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "stop"); err != nil {
		t.Error(out, err)
	}
	if _, err := os.Stat(w.EdgeSocket()); !os.IsNotExist(err) {
		t.Errorf("its socket is left: %v", err)
	}
}

// TestStopWhileARestartHangs: the stop comes behind it.
func TestStopWhileARestartHangs(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	p := program(t, w)
	if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: p}); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	begun := filepath.Join(w.Dir, "begun")
	replace(t, p, fmt.Appendf(nil, "#!/bin/sh\ntouch %q\nexport %s=hang\nexec %q\n", begun, impostorStep, self))
	ended := make(chan string, 1)
	go func() {
		out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "restart")
		ended <- fmt.Sprint(out, err)
	}()
	eventually(t, func(context.Context) error {
		_, err := os.Stat(begun)
		return err
	})
	if err := w.StopEdge(); err != nil {
		t.Errorf("stopped: %v", err)
	}
	if out := <-ended; !strings.Contains(out, "timeout") {
		t.Errorf("the restart said %s", out)
	}
	if log, err := os.ReadFile(w.EdgeLog()); err != nil || !strings.Contains(string(log), "stopping") {
		t.Error("it did not stop in its order")
	}
}
