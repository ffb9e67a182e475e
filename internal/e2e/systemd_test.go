package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "bothways/internal/api/v1"
	"bothways/internal/handover"
	"bothways/internal/lab"
)

// managed is a world whose edge is the installed service of a machine with systemd, BFD spoken by BIRD at ISP A.
func managed(t *testing.T) (*lab.World, *machine, string) {
	t.Helper()
	need(t, "bird", "bird2")
	w := raise(t, func(d *worldOf) {
		withoutGracefulRestart(d)
		d.Router("isp-a").Edge = map[string]string{"bfd": unhurried}
	})
	birdSpeaksBFD(t, w, 300*time.Millisecond, 5)
	m := newMachine(t, w)
	config, err := w.EdgeConfig()
	if err != nil {
		t.Fatal(err)
	}
	config = strings.Replace(config, w.EdgeSocket(), "/run/bothways/api.sock", 1)
	// What a path has learned is kept.
	config = strings.Replace(config, "\napi: ", "\n  - {name: learned, to: learned/expressroute, use: [expressroute, isp-b]}\napi: ", 1)
	m.configure(config)
	// The only word that is not the shipped unit's: where the log goes, for there is no journal.
	m.write("/etc/systemd/system/bothways.service.d/log.conf", "[Service]\nStandardError=append:/mnt/daemon.log\n")
	m.must("systemctl", "daemon-reload")
	return w, m, config
}

// TestUnit has systemd itself run the daemon, by the unit that is shipped.
func TestUnit(t *testing.T) {
	w, m, config := managed(t)
	if out := m.must("systemd-analyze", "verify", "bothways.service"); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	m.must("systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", "/usr/lib/systemd/system/bothways.service")
	m.must("systemctl", "start", "bothways")
	settled(t, w)
	trackIs(t, w, "isp-a/main", "bfd", "up")
	pid := m.pid()
	// A systemd that may not raise a limit goes on without.
	if mayRaiseLimits(t) && !m.threadAhead(pid) {
		t.Error("the thread that speaks BFD has no priority: LimitNICE=")
	}
	if n := m.property("FileDescriptorStoreMax"); n != strconv.Itoa(handover.MaxFiles) {
		t.Errorf("systemd keeps %s files, a daemon takes %d", n, handover.MaxFiles)
	}
	if has := privileges(t, pid); !strings.Contains(has, "NoNewPrivs: 1") || !strings.Contains(has, "CapEff: 0000000000003400") || strings.Contains(has, "Uid: 0") {
		t.Errorf("the daemon has\n%s", has)
	}
	var st v1.Status
	if err := w.Show(within(t), "status", &st); err != nil {
		t.Fatal(err)
	}
	if st.Kernel.Refused != 0 || st.Kernel.LastError != "" {
		t.Errorf("in the unit's sandbox the kernel refuses: %+v", st.Kernel)
	}
	before, bfdUp := since(t, w), birdBFDSince(t, w)
	all := streams(t, w)
	kill := func() {
		t.Helper()
		old, restarts := m.pid(), m.property("NRestarts")
		if err := unix.Kill(old, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, func(context.Context) error {
			if m.property("ActiveState") != "active" || m.property("NRestarts") == restarts {
				return fmt.Errorf("%s after %s restarts", m.property("ActiveState"), m.property("NRestarts"))
			}
			return nil
		})
		settledOrDrained(t, w)
		settled(t, w)
		if now := m.pid(); now == old {
			t.Errorf("process %d after it was killed", now)
		}
		flow(t, all, 5000)
		unchanged(t, w, before)
	}
	handOver := func() {
		t.Helper()
		old, restarts := m.property("MainPID"), m.property("NRestarts")
		out := m.must("bothways", "restart")
		settled(t, w)
		eventually(t, func(context.Context) error {
			if m.property("MainPID") == old {
				return fmt.Errorf("%s: systemd still follows %s", out, old)
			}
			return nil
		})
		if !strings.Contains(out, "process "+m.property("MainPID")+" ") || m.property("ActiveState") != "active" || m.property("NRestarts") != restarts {
			t.Errorf("%s; systemd: main process %s, %s, restarts %s, before %s", out, m.property("MainPID"), m.property("ActiveState"), m.property("NRestarts"), restarts)
		}
		flow(t, all, 5000)
		unchanged(t, w, before)
	}
	kill()
	handOver()
	kill() // of a process that is no child that systemd began
	m.install()
	m.must("systemctl", "daemon-reload")
	handOver() // an upgrade
	kill()

	// A reload is the daemon's word, good or bad.
	m.configure(config + "nonsense: 1\n")
	if out, err := m.run("systemctl", "reload", "bothways"); err == nil {
		t.Errorf("a reload of nonsense succeeds: %s", out)
	}
	m.configure(strings.Replace(config, "  isp-a:\n", "  isp-a:\n    prepend: 2\n", 1))
	m.must("systemctl", "reload", "bothways")
	settled(t, w)
	unchanged(t, w, before)
	sameTimes(t, bfdUp, birdBFDSince(t, w))
	for i, s := range all {
		if l := s.Stop(); l.Out+l.Back != 0 || l.Changes > 0 {
			t.Errorf("stream %d: %s, %d changes of the source", i, l, l.Changes)
		}
	}

	// The end: sessions go, the kernel's work stays, nothing else is left.
	table, err := ourTable(w)
	if err != nil {
		t.Fatal(err)
	}
	m.must("systemctl", "stop", "bothways")
	if m.property("ActiveState") != "inactive" || m.property("Result") != "success" {
		t.Errorf("stopped: %s, %s", m.property("ActiveState"), m.property("Result"))
	}
	if after, err := ourTable(w); err != nil || after != table {
		t.Errorf("our table changed at the stop: %s (%v)", firstDifference(table, after), err)
	}
	eventually(t, func(context.Context) error {
		left, err := os.ReadFile(m.path("/sys/fs/cgroup/system.slice/bothways.service/cgroup.procs"))
		if err == nil && len(left) > 0 {
			return fmt.Errorf("processes %q are left", left)
		}
		return nil
	})
	if kept, err := os.ReadFile(m.path("/var/lib/bothways/demo.learned.json")); err != nil || !strings.Contains(string(kept), "expressroute") {
		t.Errorf("what must outlive the daemon: %q, %v", kept, err)
	}
}

// TestUnitGivesUp: a daemon that cannot start is tried as often as the unit says. What the one before left in the kernel stays, and what was
// kept of it is closed.
func TestUnitGivesUp(t *testing.T) {
	w, m, config := managed(t)
	m.must("systemctl", "start", "bothways")
	settled(t, w)
	table, err := ourTable(w)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := strconv.Atoi(m.property("NFileDescriptorStore"))
	if err != nil || stored < 2 {
		t.Errorf("%d descriptors are kept (%v)", stored, err)
	}
	m.configure("nonsense: 1\n")
	if err := unix.Kill(m.pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) error {
		if s := m.property("ActiveState"); s != "failed" {
			return fmt.Errorf("%s after %s restarts", s, m.property("NRestarts"))
		}
		return nil
	})
	if n := m.property("NRestarts"); n != "10" && n != "9" {
		t.Errorf("given up after %s restarts", n)
	}
	if n := m.property("NFileDescriptorStore"); n != "0" {
		t.Errorf("%s descriptors are kept of a service that failed", n)
	}
	if after, err := ourTable(w); err != nil || after != table {
		t.Errorf("our table changed: %s (%v)", firstDifference(table, after), err)
	}
	m.configure(config)
	m.must("systemctl", "reset-failed", "bothways")
	m.must("systemctl", "start", "bothways")
	settled(t, w)
}

// mayRaiseLimits reports whether this process, and so a systemd that it starts, has CAP_SYS_RESOURCE.
func mayRaiseLimits(t *testing.T) bool {
	t.Helper()
	for _, line := range strings.Split(privileges(t, os.Getpid()), "\n") {
		if text, ok := strings.CutPrefix(line, "CapEff: "); ok {
			has, err := strconv.ParseUint(text, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return has&(1<<unix.CAP_SYS_RESOURCE) != 0
		}
	}
	return false
}

// TestInstall: what is installed can be taken away again, and the configuration stays.
func TestInstall(t *testing.T) {
	t.Parallel()
	need(t, "make", "make")
	root := t.TempDir()
	files := func() (out []string) {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				out = append(out, strings.TrimPrefix(path, root))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run := func(target string) {
		t.Helper()
		out, err := exec.Command("make", "-C", "../..", target, "DESTDIR="+root, "PROGRAM="+binary).CombinedOutput()
		if err != nil {
			t.Fatalf("make %s: %v: %s", target, err, out)
		}
	}
	run("install")
	want := []string{"/usr/local/lib/systemd/system/bothways.service", "/usr/local/lib/sysusers.d/bothways.conf", "/usr/local/sbin/bothways"}
	if got := files(); !slices.Equal(got, want) {
		t.Errorf("installed %q, want %q", got, want)
	}
	unit, err := os.ReadFile(filepath.Join(root, want[0]))
	if err != nil || !strings.Contains(string(unit), "\nExecStart=/usr/local/sbin/bothways run -c /etc/bothways/bothways.yaml\n") || strings.Contains(string(unit), "DIR@") {
		t.Errorf("the unit is (%v)\n%s", err, unit)
	}
	config := filepath.Join(root, "etc/bothways/bothways.yaml")
	if err := os.WriteFile(config, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	run("install") // an upgrade
	run("uninstall")
	if got := files(); !slices.Equal(got, []string{"/etc/bothways/bothways.yaml"}) {
		t.Errorf("left: %q", got)
	}
}
