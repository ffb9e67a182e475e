package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Store is the service manager: what is told to it (sd_notify(3)), and the open files that it keeps for the next process
// where it may (systemd's FileDescriptorStoreMax=). Where there is none, nothing happens. Files are given and taken back by
// Run, in order: nobody else waits for a manager that is busy, as systemd is for seconds while it reads its units.
type Store struct {
	path  string
	log   *slog.Logger
	words chan word
}

// word is something to be said, with files that are closed behind it.
type word struct {
	state string
	files []*os.File
}

// NewStore makes the one that a socket leads to, as NOTIFY_SOCKET names it; "": none.
func NewStore(path string, log *slog.Logger) *Store {
	return &Store{path, log, make(chan word, storeQueue)}
}

// Bounds of what waits for the manager: each session and each local address says two words when it comes.
const (
	storeQueue    = 4 * MaxFiles
	storePatience = 10 * time.Second // for one word
	storeTry      = 200 * time.Millisecond
)

// Run says what is to be said until ctx is done, and then what is left, as long as somebody listens.
func (s *Store) Run(ctx context.Context) error {
	well := true
	say := func(w word) bool {
		defer closeAll(w.files)
		err := s.patiently(ctx, w)
		if err != nil && well {
			s.log.Warn("the service manager does not listen: files are not kept for the case of a crash", "error", err)
		}
		well = err == nil
		return well
	}
	for ctx.Err() == nil {
		select {
		case w := <-s.words:
			say(w)
		case <-ctx.Done():
		}
	}
	for {
		select {
		case w := <-s.words:
			if say(w) {
				continue
			}
		default:
		}
		return nil
	}
}

// patiently says a word, and again to one that is busy. Once ctx is done it is said at once or not.
func (s *Store) patiently(ctx context.Context, w word) (err error) {
	for until := time.Now().Add(storePatience); ; {
		err = s.send(w)
		if !errors.Is(err, unix.EAGAIN) || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
	}
}

// Keeps reports whether there is anybody who may keep files.
func (s *Store) Keeps() bool { return s.path != "" }

// Tell tells it something at once, such as "READY=1".
func (s *Store) Tell(state string) error {
	return s.patiently(context.Background(), word{state: state})
}

// Put has files kept under a name, in place of those that are there. They stay open here.
func (s *Store) Put(name string, files ...*os.File) error {
	w := word{state: "FDSTORE=1\nFDNAME=" + storeName(name)}
	err := within(files, func(fds []int) error {
		for _, fd := range fds {
			mine, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return os.NewSyscallError("duplicate descriptor", err)
			}
			w.files = append(w.files, os.NewFile(uintptr(mine), name))
		}
		return nil
	})
	if err == nil {
		err = s.Remove(name)
	}
	if err == nil {
		err = s.leave(w)
	}
	if err != nil {
		closeAll(w.files)
	}
	return err
}

// Remove has what is kept under a name closed.
func (s *Store) Remove(name string) error {
	return s.leave(word{state: "FDSTOREREMOVE=1\nFDNAME=" + storeName(name)})
}

// leave leaves a word for Run.
func (s *Store) leave(w word) error {
	if !s.Keeps() {
		closeAll(w.files)
		return nil
	}
	select {
	case s.words <- w:
		return nil
	default:
		return errors.New("service manager: too much waits to be said")
	}
}

// storeName is a name without the character that stands between names.
func storeName(s string) string { return strings.ReplaceAll(s, ":", "_") }

func (s *Store) send(w word) error {
	if !s.Keeps() {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("service manager: %w", os.NewSyscallError("make socket", err))
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(int64(storeTry))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return fmt.Errorf("service manager: %w", os.NewSyscallError("set time limit", err))
	}
	err = within(w.files, func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		return os.NewSyscallError("sendmsg", unix.Sendmsg(fd, []byte(w.state), rights, &unix.SockaddrUnix{Name: s.path}, 0))
	})
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	return nil
}

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
