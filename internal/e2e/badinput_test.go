package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// edgeWith starts the edge with its configuration changed.
func edgeWith(t *testing.T, w *lab.World, change func(string) string) {
	t.Helper()
	text, err := w.EdgeConfig()
	if err != nil {
		t.Fatal(err)
	}
	changed := change(text)
	if changed == text {
		t.Fatalf("nothing was changed in\n%s", text)
	}
	if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: binary, Config: changed}); err != nil {
		t.Fatal(err)
	}
}

// session waits until the session of a link is as wanted.
func session(t *testing.T, w *lab.World, link string, want func(v1.Session) error) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		var all []v1.Session
		if err := w.Show(ctx, "sessions", &all); err != nil {
			return err
		}
		for _, s := range all {
			if s.Link == link && s.Family == "ipv4" {
				return want(s)
			}
		}
		return fmt.Errorf("no session of %s", link)
	})
}

func established(s v1.Session) error {
	if s.State != "Established" || s.Accepted == 0 {
		return fmt.Errorf("%s is %s with %d routes: %s", s.Link, s.State, s.Accepted, s.LastError)
	}
	return nil
}

func failsWith(text string) func(v1.Session) error {
	return func(s v1.Session) error {
		if s.State == "Established" || !strings.Contains(s.LastError, text) {
			return fmt.Errorf("%s is %s, last error %q, want %q", s.Link, s.State, s.LastError, text)
		}
		return nil
	}
}

func TestWrongNeighborAS(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edgeWith(t, w, func(c string) string { return strings.Replace(c, "asn: 12076", "asn: 12077", 1) })
	session(t, w, "expressroute/primary", failsWith("wrong AS 12076, want 12077"))
	session(t, w, "expressroute/secondary", established)
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	w := raise(t, func(d *worldOf) { d.Routers[0].Password, d.Routers[1].Password = "right1", "right2" })
	text, err := w.EdgeConfig()
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(w.Dir, "wrong.key")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	right := filepath.Join(w.Dir, "expressroute-primary.key")
	if !strings.Contains(text, right) {
		t.Fatalf("no password file %s in\n%s", right, text)
	}
	edgeWith(t, w, func(c string) string { return strings.ReplaceAll(c, right, wrong) })
	session(t, w, "expressroute/secondary", established)
	session(t, w, "expressroute/primary", func(s v1.Session) error {
		if s.State == "Established" {
			t.Fatal("a session stands with the wrong password")
		}
		return nil
	})
}

func TestRouteFlood(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edgeWith(t, w, func(c string) string {
		return strings.Replace(c, "interface: er0", "interface: er0\n        max-prefixes: {count: 50, then: restart}", 1)
	})
	session(t, w, "expressroute/primary", failsWith("maximum number of prefixes"))
	session(t, w, "expressroute/secondary", established)
	var events []v1.Event
	if err := w.Show(within(t), "events", &events); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(events)
	if !strings.Contains(text, "more than 50 prefixes: restart") {
		t.Errorf("no word of it among the events: %s", text)
	}
	eventually(t, func(ctx context.Context) error {
		// A connection begun while the ways were still changing may be cut, and its client then waits: each has a second.
		one, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		a, err := w.Ask(one, "client", address(t, w, "storage", false))
		if err != nil || a.Via != "circuit/secondary" {
			return fmt.Errorf("the other link does not carry the services: %+v, %w", a, err)
		}
		return nil
	})
}

func TestMissingInterface(t *testing.T) {
	t.Parallel()
	need(t, "ip", "iproute2")
	w := raise(t, nil)
	if _, err := inEdge(w, "ip", "link", "set", "er0", "down"); err != nil {
		t.Fatal(err)
	}
	if _, err := inEdge(w, "ip", "link", "set", "er0", "name", "later0"); err != nil {
		t.Fatal(err)
	}
	if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: binary}); err != nil {
		t.Fatal(err)
	}
	session(t, w, "expressroute/secondary", established)
	var links []v1.Link
	if err := w.Show(within(t), "links", &links); err != nil {
		t.Fatal(err)
	}
	if links[0].State != "down" || !strings.Contains(links[0].Carrier, "interface er0 is missing") {
		t.Errorf("the link without its interface: %+v", links[0])
	}
	if _, err := inEdge(w, "ip", "link", "set", "later0", "name", "er0", "up"); err != nil {
		t.Fatal(err)
	}
	session(t, w, "expressroute/primary", established)
}

// TestCannotStart holds that a daemon that cannot run says why in one line and changes nothing.
func TestCannotStart(t *testing.T) {
	t.Parallel()
	need(t, "ip", "iproute2")
	w := raise(t, nil)
	edge(t, w)
	rules, err := inEdge(w, "ip", "rule")
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(w.EdgeFile())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		file := filepath.Join(w.Dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if err := os.Chmod(w.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name, file, want string
		uid              uint32
	}{
		{"no file", filepath.Join(w.Dir, "none.yaml"), "no such file or directory", 0},
		{"malformed", write("malformed.yaml", "site: ["), "malformed.yaml:1: did not find expected node content", 0},
		{"unknown key", write("unknown.yaml", "sight: x\n"), `unknown.yaml:1: unknown key "sight"`, 0},
		{"a rule of the provider broken", write("rule.yaml", strings.Replace(string(good), "announce: [", "announce: [10.9.0.0/16, ", 1)), "the private prefix 10.9.0.0/16 is announced", 0},
		{"a second daemon", w.EdgeFile(), "another bothways daemon runs in this network namespace", 0},
		{"no place for the socket", write("socket.yaml", strings.Replace(string(good), `socket: "`, `socket: "/dev/null/x`, 1)), "api: mkdir /dev/null", 0},
		{"no privileges", write("good.yaml", string(good)), "no permission to change the network (CAP_NET_ADMIN is missing)", 65534},
	}
	for _, row := range rows {
		var out []byte
		where := lab.Edge
		if row.uid != 0 || strings.Contains(row.name, "socket") {
			where = "client" // no daemon runs there
		}
		err := w.Exec(where, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary, "run", "-c", row.file)
			if row.uid != 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: row.uid, Gid: row.uid}}
			}
			var err error
			out, err = cmd.CombinedOutput()
			return err
		})
		lines := 0
		for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			if !strings.Contains(l, "level=WARN") {
				lines++
			}
		}
		if err == nil || !strings.Contains(string(out), row.want) || lines != 1 {
			t.Errorf("%s: %v, %d lines:\n%s\nwant one with %q", row.name, err, lines, out, row.want)
		}
	}
	if now, err := inEdge(w, "ip", "rule"); err != nil || now != rules {
		t.Errorf("rules changed from\n%s to\n%s (%v)", rules, now, err)
	}
	settled(t, w)
}

// TestReloadOfABadFile holds that the old configuration stays.
func TestReloadOfABadFile(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edge(t, w)
	good, err := os.ReadFile(w.EdgeFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.EdgeFile(), append(good, []byte("nonsense: 1\n")...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "reload")
	if err == nil || !strings.Contains(out, `unknown key "nonsense"`) {
		t.Errorf("reload of a bad file: %v %s", err, out)
	}
	settled(t, w)
}
