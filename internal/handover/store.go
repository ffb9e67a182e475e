package handover

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Store is the service manager: what is told to it (sd_notify(3)), and the open files that it keeps for the next process
// where it may (systemd's FileDescriptorStoreMax=). Where there is none, nothing happens.
type Store struct{ path string }

// NewStore makes the one that a socket leads to, as NOTIFY_SOCKET names it; "": none.
func NewStore(path string) *Store { return &Store{path} }

// Keeps reports whether there is anybody who may keep files.
func (s *Store) Keeps() bool { return s != nil && s.path != "" }

// Tell tells it something, such as "READY=1".
func (s *Store) Tell(state string) error { return s.send(state) }

// Put has files kept under a name, in place of those that are there. They stay open here.
func (s *Store) Put(name string, files ...*os.File) error {
	if err := s.Remove(name); err != nil {
		return err
	}
	return s.send("FDSTORE=1\nFDNAME="+storeName(name), files...)
}

// Remove has what is kept under a name closed.
func (s *Store) Remove(name string) error {
	return s.send("FDSTOREREMOVE=1\nFDNAME=" + storeName(name))
}

// storeName is a name without the character that stands between names.
func storeName(s string) string { return strings.ReplaceAll(s, ":", "_") }

func (s *Store) send(state string, files ...*os.File) error {
	if !s.Keeps() {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("service manager: %w", os.NewSyscallError("make socket", err))
	}
	defer unix.Close(fd)
	// One that is busy may not hold up the rest.
	limit := unix.NsecToTimeval(int64(storePatience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return fmt.Errorf("service manager: %w", os.NewSyscallError("set time limit", err))
	}
	err = within(files, func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		return os.NewSyscallError("sendmsg", unix.Sendmsg(fd, []byte(state), rights, &unix.SockaddrUnix{Name: s.path}, 0))
	})
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	return nil
}

// storePatience bounds one word to the service manager.
const storePatience = time.Second

// firstStored is the first descriptor that a service manager gives a process (sd_listen_fds(3)).
const firstStored = 3

// TakeStored gives the files that the service manager kept, by name, as the environment tells of them. It must be called once
// and early: descriptors that are not these would be taken for them. The process's children are not told.
func TakeStored() (map[string][]*os.File, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(v)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // for another process, or nothing
	}
	n, err := strconv.Atoi(count)
	list := strings.Split(names, ":")
	if err != nil || n < 0 || n > MaxFiles || n != len(list) {
		return nil, fmt.Errorf("service manager: %s files named %q", count, names)
	}
	out := map[string][]*os.File{}
	for i, name := range list {
		unix.CloseOnExec(firstStored + i)
		out[name] = append(out[name], os.NewFile(uintptr(firstStored+i), name))
	}
	return out, nil
}

// within calls do with the descriptors of files, which are theirs only meanwhile.
func within(files []*os.File, do func(fds []int) error) error {
	fds := make([]int, 0, len(files))
	var with func(rest []*os.File) error
	with = func(rest []*os.File) error {
		if len(rest) == 0 {
			return do(fds)
		}
		raw, err := rest[0].SyscallConn()
		if err != nil {
			return err
		}
		return errors.Join(raw.Control(func(fd uintptr) {
			fds = append(fds, int(fd))
			err = with(rest[1:])
		}), err)
	}
	return with(files)
}
