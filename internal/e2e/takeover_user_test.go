package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bothways/internal/lab"
)

// privileges are the lines of a process's status about what it may do.
func privileges(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, line := range strings.Split(string(data), "\n") {
		for _, key := range []string{"Uid:", "CapPrm:", "CapEff:", "NoNewPrivs:"} {
			if strings.HasPrefix(line, key) {
				out = append(out, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	return strings.Join(out, "\n")
}

// TestRestartKeepsPrivileges: the new process may do what the old one might, and no more; as root, and as a user who has the
// capabilities by ambient ones, as a service manager gives them.
func TestRestartKeepsPrivileges(t *testing.T) {
	need(t, "setpriv", "util-linux")
	for _, user := range []string{"root", "nobody"} {
		t.Run(user, func(t *testing.T) {
			w := raise(t, withoutGracefulRestart)
			// The binary's directory is open to all; the world's is not.
			run := "exec " + binary
			if user == "nobody" {
				caps := "+net_admin,+net_raw,+net_bind_service"
				run = fmt.Sprintf("chown -R 65534 %s && exec setpriv --reuid 65534 --clear-groups --inh-caps %s --ambient-caps %s %s", w.Dir, caps, caps, binary)
			}
			script := filepath.Join(w.Dir, "run")
			if err := os.WriteFile(script, []byte("#!/bin/sh\n"+run+" \"$@\"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: script}); err != nil {
				t.Fatal(err)
			}
			settled(t, w)
			before := since(t, w)
			old := 0
			for range 2 {
				had := ""
				if old != 0 {
					had = privileges(t, old)
				}
				done, err := w.RestartEdge(within(t), "")
				if err != nil {
					t.Fatal(err)
				}
				settled(t, w)
				old = done.PID
				has := privileges(t, old)
				if had != "" && has != had || !strings.Contains(has, "NoNewPrivs: 1") || !strings.Contains(has, "CapEff: 0000000000003400") {
					t.Errorf("the new process has\n%s\nthe old one had\n%s", has, had)
				}
			}
			unchanged(t, w, before)
			if out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "reload"); err != nil {
				t.Error("reload after a restart:", out, err)
			}
			settled(t, w)
		})
	}
}
