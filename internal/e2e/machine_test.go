package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bothways/internal/lab"
)

const systemd = "/lib/systemd/systemd"

// machine is a systemd that is process 1 in namespaces of its own, but for the network: that is the edge's. Its /usr and /etc are this
// system's with what `make install` put there, without any unit but those few that every service stands on.
type machine struct {
	t       *testing.T
	root    string // what lies over /usr and /etc
	process *os.Process
}

// boot begins with the mounts that a container has: of what is this system's own, only its network namespace can be changed.
// Of /proc/sys too only net is writable.
const boot = `
set -e
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$DIR/root/usr,workdir=$DIR/work-usr" /usr
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$DIR/root/etc,workdir=$DIR/work-etc" /etc
mount --bind "$DIR" /mnt
mount -t proc proc /proc
mount --bind /proc/sys/net /mnt/sys-net
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
mount --move /mnt/sys-net /proc/sys/net
umount -R /sys
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs tmpfs /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /mnt/dev
for f in null zero full random urandom tty; do touch /mnt/dev/$f; mount --bind /dev/$f /mnt/dev/$f; done
mkdir /mnt/dev/pts /mnt/dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts /mnt/dev/pts
mount -t tmpfs tmpfs /mnt/dev/shm
ln -s pts/ptmx /mnt/dev/ptmx
mount --move /mnt/dev /dev
systemd-sysusers
touch /mnt/mounted
exec /lib/systemd/systemd --unit=sysinit.target --log-target=console --log-color=no
`

// newMachine boots a machine in the edge's network namespace, with the daemon installed and configured, not started.
func newMachine(t *testing.T, w *lab.World) *machine {
	t.Helper()
	need(t, systemd, "systemd")
	need(t, "make", "make")
	m := &machine{t: t, root: filepath.Join(w.Dir, "root")}
	for _, dir := range []string{"root/usr", "root/etc", "work-usr", "work-etc", "sys-net", "dev"} {
		if err := os.MkdirAll(filepath.Join(w.Dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.install()
	m.onlyOwnUnits()
	m.start(w)
	return m
}

// install is what a package does with a new program.
func (m *machine) install() {
	m.t.Helper()
	out, err := exec.Command("make", "-C", "../..", "install", "DESTDIR="+m.root, "PREFIX=/usr", "PROGRAM="+binary).CombinedOutput()
	if err != nil {
		m.t.Fatalf("make install: %v: %s", err, out)
	}
}

// onlyOwnUnits hides the units of this system: some of them would do something to it.
func (m *machine) onlyOwnUnits() {
	m.t.Helper()
	for _, dir := range []string{"usr/lib/systemd/system", "usr/lib/systemd/system-generators", "etc/systemd"} {
		dir = filepath.Join(m.root, dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			m.t.Fatal(err)
		}
		if err := unix.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			needed(m.t, fmt.Errorf("systemd cannot run here: an overlay's directory cannot hide another: %w", err))
		}
	}
	for _, name := range []string{"sysinit", "basic", "network", "multi-user", "shutdown", "sockets", "timers", "paths", "slices"} {
		name += ".target"
		data, err := os.ReadFile(filepath.Join("/usr/lib/systemd/system", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(m.root, "usr/lib/systemd/system", name), data, 0o644)
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *machine) start(w *lab.World) {
	t := m.t
	t.Helper()
	group := ownGroup(t)
	log, err := os.Create(filepath.Join(w.Dir, "systemd.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// The group's namespace is entered by a process that is in the group already.
	cmd := exec.Command("unshare", "--cgroup", "/bin/sh", "-c", boot)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DIR=" + w.Dir, "container=other"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL, UseCgroupFD: true, CgroupFD: int(group.Fd()),
	}
	if err := w.Exec(lab.Edge, cmd.Start); err != nil {
		needed(t, fmt.Errorf("systemd cannot run here: %w", err))
	}
	m.process = cmd.Process
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := m.run("systemctl", "status", "--no-pager", "bothways")
			t.Log(out)
			for _, name := range []string{"systemd.log", "daemon.log"} {
				text, _ := os.ReadFile(filepath.Join(w.Dir, name))
				t.Logf("%s:\n%s", name, tail(text, 20000))
			}
		}
		_ = cmd.Process.Kill() // and with it all that is in its namespace
		<-ended
	})
	eventually(t, func(context.Context) error {
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			if _, err := os.Stat(filepath.Join(w.Dir, "mounted")); err != nil {
				needed(t, fmt.Errorf("systemd cannot run here: what it needs cannot be mounted: %s", text))
			}
			t.Fatalf("systemd has ended: %s", text)
		default:
		}
		out, err := m.run("systemctl", "is-system-running")
		if err != nil {
			return errors.New(out)
		}
		return nil
	})
	// The socket is where it would be on the machine; the world asks at its own place.
	if err := os.Symlink(m.path("/run/bothways/api.sock"), w.EdgeSocket()); err != nil {
		t.Fatal(err)
	}
}

// ownGroup is a cgroup of the machine's own, in whatever version 2 hierarchy there is.
func ownGroup(t *testing.T) *os.File {
	t.Helper()
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer mounts.Close()
	at := ""
	for s := bufio.NewScanner(mounts); s.Scan(); {
		before, after, _ := strings.Cut(s.Text(), " - ")
		if f := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(f) > 4 {
			at = f[4]
		}
	}
	if at == "" {
		needed(t, errors.New("systemd cannot run here: no cgroup hierarchy of version 2 is mounted"))
	}
	dir, err := os.MkdirTemp(at, "bothways-e2e")
	if err != nil {
		needed(t, fmt.Errorf("systemd cannot run here: no cgroup can be made: %w", err))
	}
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		group.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience) // the test's own has ended
		defer cancel()
		if err := lab.Eventually(ctx, func() error { return removeGroups(dir) }); err != nil {
			t.Error(err)
		}
	})
	return group
}

// removeGroups removes a cgroup and those in it.
func removeGroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeGroups(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(dir))
}

// path is a file of the machine's, as it is seen from here.
func (m *machine) path(file string) string {
	return filepath.Join("/proc", strconv.Itoa(m.process.Pid), "root", file)
}

// run runs a command on the machine.
func (m *machine) run(name string, args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(m.process.Pid), "--all", name}, args...)...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// must is run for what has to work.
func (m *machine) must(name string, args ...string) string {
	m.t.Helper()
	out, err := m.run(name, args...)
	if err != nil {
		m.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return out
}

// property is one of the service's, as systemd says it.
func (m *machine) property(name string) string {
	m.t.Helper()
	return m.must("systemctl", "show", "--value", "--property", name, "bothways.service")
}

// processes are the service's, as this system numbers them.
func (m *machine) processes() []int {
	m.t.Helper()
	// Read by a process outside, the list has the numbers of outside.
	list, err := os.ReadFile(m.path("/sys/fs/cgroup" + m.property("ControlGroup") + "/cgroup.procs"))
	if err != nil {
		m.t.Fatal(err)
	}
	var out []int
	for _, text := range strings.Fields(string(list)) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			m.t.Fatal(err)
		}
		out = append(out, pid)
	}
	return out
}

// pid is the service's main process, as this system numbers it.
func (m *machine) pid() int {
	m.t.Helper()
	inside, all := m.property("MainPID"), m.processes()
	for _, pid := range all {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(status), "\n") {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "NSpid:" && f[len(f)-1] == inside {
				return pid
			}
		}
	}
	m.t.Fatalf("main process %s is not in the service's group: %v", inside, all)
	return 0
}

// threadAhead reports whether a thread of a process beside the main one is ahead of who else wants the processor.
func (m *machine) threadAhead(main int) bool {
	m.t.Helper()
	for _, pid := range m.processes() {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			m.t.Fatal(err)
		}
		for _, file := range stats {
			// Fields are counted from behind the name, which may hold anything: state is the third, nice the nineteenth.
			text, _ := os.ReadFile(file)
			_, after, _ := strings.Cut(string(text), ") ")
			if f := strings.Fields(after); pid != main && len(f) > 16 && f[16] == "-20" {
				return true
			}
		}
	}
	return false
}

// write writes a file of the machine's.
func (m *machine) write(file, text string) {
	m.t.Helper()
	file = m.path(file)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o644)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// configure writes the daemon's configuration.
func (m *machine) configure(text string) {
	m.t.Helper()
	m.write("/etc/bothways/bothways.yaml", text)
}
