package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
	"bothways/internal/lab/world"
)

// binary is the daemon, built once for all tests of the package.
var binary string

func TestMain(m *testing.M) {
	if step := os.Getenv(impostorStep); step != "" {
		impostor(step)
		return
	}
	lab.Main()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bothways-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// A test runs the daemon as nobody.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "bothways")
	build := exec.Command("go", "build", "-o", binary, "bothways/cmd/bothways")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s", err, out)
		return 1
	}
	return m.Run()
}

// needWorlds skips a test where no world can be raised, and fails it in CI.
func needWorlds(t *testing.T) {
	t.Helper()
	if err := lab.CanRaise(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// raise starts a world without an edge.
func raise(t *testing.T, change func(*world.World)) *lab.World {
	t.Helper()
	needWorlds(t)
	d := world.Default()
	d.Name = "e2e"
	if change != nil {
		change(d)
	}
	w, err := lab.Start(within(t), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if log, err := os.ReadFile(w.EdgeLog()); err == nil {
				t.Logf("the edge's log:\n%s", tail(log, 60000))
			}
		}
		w.Close()
	})
	return w
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// edge starts the daemon in a world and waits until it has settled.
func edge(t *testing.T, w *lab.World) {
	t.Helper()
	if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: binary}); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
}

// settled waits until every session stands, all was said, and the kernel holds what it shall.
func settled(t *testing.T, w *lab.World) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		var sessions []v1.Session
		if err := w.Show(ctx, "sessions", &sessions); err != nil {
			return err
		}
		for _, s := range sessions {
			if s.State != "Established" {
				return fmt.Errorf("session %s %s is %s: %s", s.Link, s.Family, s.State, s.LastError)
			}
			if s.Accepted == 0 {
				return fmt.Errorf("session %s %s has no routes yet", s.Link, s.Family)
			}
		}
		if err := heard(w, sessions); err != nil {
			return err
		}
		var links []v1.Link
		if err := w.Show(ctx, "links", &links); err != nil {
			return err
		}
		if len(links) == 0 || len(sessions) == 0 {
			return errors.New("the edge has not begun yet")
		}
		for _, l := range links {
			if l.State != "up" {
				return fmt.Errorf("link %s %s is %s: %s, %s", l.Name, l.Family, l.State, l.Carrier, l.Reachable)
			}
		}
		var st v1.Status
		if err := w.Show(ctx, "status", &st); err != nil {
			return err
		}
		if st.Mode != "full" || st.Waiting != 0 || st.Kernel.Pending != 0 || st.Kernel.Behind != 0 {
			return fmt.Errorf("mode %s, %d sessions have more to say, %d routes pending, last error %q", st.Mode, st.Waiting, st.Kernel.Pending, st.Kernel.LastError)
		}
		// Without them nothing finds the way back.
		for _, r := range w.Description.Routers {
			if known := w.Learned(r.Name); r.ASN != 0 && len(known) == 0 {
				return fmt.Errorf("%s has learned nothing of the edge yet", r.Name)
			}
		}
		return nil
	})
}

// heard checks that the routers took what the edge announced: until then they have no way back.
func heard(w *lab.World, sessions []v1.Session) error {
	announced := map[string]int{}
	for _, s := range sessions {
		announced[s.Link] += s.Announced
	}
	for link, n := range announced {
		if got := w.Learned(link); len(got) != n {
			return fmt.Errorf("link %s announces %d prefixes, its router has %v", link, n, got)
		}
	}
	return nil
}

// patience bounds every wait. It is far above what anything here takes: while namespaces of other tests come and go, the
// kernel's one lock of all network settings has been seen held for half a minute on a busy machine.
const patience = 2 * time.Minute

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until the answer is good, and fails with the last one.
func eventually(t *testing.T, question func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := lab.Eventually(ctx, func() error { return question(ctx) }); err != nil {
		t.Fatal(err)
	}
}

func address(t *testing.T, w *lab.World, host string, v6 bool) netip.Addr {
	t.Helper()
	a, err := w.Address(host, v6)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// inEdge runs a command in the edge's namespace.
func inEdge(w *lab.World, name string, args ...string) (string, error) {
	var out []byte
	err := w.Exec(lab.Edge, func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		return string(out), fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return string(out), nil
}

// logKernel writes down what the edge's kernel holds besides the long tables, and what the daemon says of it.
func logKernel(t *testing.T, w *lab.World) {
	t.Helper()
	for _, args := range [][]string{
		{"ip", "-6", "rule"}, {"ip", "rule"}, {"ip", "nexthop"}, {"ip", "-6", "addr"}, {"ip", "-6", "neigh"}, {"ip", "-6", "route", "show", "table", "all", "default"},
		{binary, "--socket", w.EdgeSocket(), "show", "links"}, {binary, "--socket", w.EdgeSocket(), "show", "status"},
		{binary, "--socket", w.EdgeSocket(), "show", "events"},
	} {
		out, err := inEdge(w, args[0], args[1:]...)
		t.Logf("%v: %v\n%s", args, err, tail([]byte(out), 6000))
	}
}

// need names a program that a test looks through.
func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		needed(t, errors.Join(fmt.Errorf("package %s is not installed", pkg), err))
	}
}

// needed skips a test for what is missing, and fails it in CI.
func needed(t *testing.T, missing error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}
