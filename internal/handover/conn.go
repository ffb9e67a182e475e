package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is one end of the wire. It is used by one goroutine at a time.
type Conn struct{ c *net.UnixConn }

// MaxMessage bounds a message, in bytes of JSON. What a neighbor that does not read was not sent is most of it.
const MaxMessage = 256 << 20

// MaxFiles bounds the files of a message: two for each session of as many links as there can be, and more.
const MaxFiles = 2048

// filesAtOnce is how many files one piece of ancillary data carries; the kernel takes 253 (SCM_MAX_FD).
const filesAtOnce = 200

// Pair makes a wire: our end, and a file to be inherited by another process, which calls Open on its descriptor.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("make socket pair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "handover")
	ours, err := Open(os.NewFile(uintptr(fds[0]), "handover"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Open makes an end of a file, which it closes.
func Open(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("handover: a %T, want a unix socket", c)
	}
	return &Conn{u}, nil
}

// Close closes this end.
func (c *Conn) Close() error { return c.c.Close() }

// Limit bounds all that follows in time; the zero time is no limit.
func (c *Conn) Limit(t time.Time) error { return c.c.SetDeadline(t) }

// Send writes a message with files, which stay open here.
func (c *Conn) Send(v any, files ...*os.File) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	if len(text) > MaxMessage || len(files) > MaxFiles {
		return fmt.Errorf("handover: message of %d bytes and %d files, want at most %d and %d", len(text), len(files), MaxMessage, MaxFiles)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(files)))
	if _, err := c.c.Write(append(head, text...)); err != nil {
		return fmt.Errorf("handover: send: %w", err)
	}
	for len(files) > 0 {
		n := min(len(files), filesAtOnce)
		if err := c.sendFiles(files[:n]); err != nil {
			return fmt.Errorf("handover: send files: %w", err)
		}
		files = files[n:]
	}
	return nil
}

func (c *Conn) sendFiles(files []*os.File) error {
	return within(files, func(fds []int) error {
		_, _, err := c.c.WriteMsgUnix([]byte{0}, unix.UnixRights(fds...), nil)
		return err
	})
}

// Receive reads a message into v. A key that v does not have is an error. The files are the caller's to close.
func (c *Conn) Receive(v any) ([]*os.File, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.c, head[:]); err != nil {
		return nil, fmt.Errorf("handover: receive: %w", err)
	}
	size, count := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:])
	if size > MaxMessage || count > MaxFiles {
		return nil, fmt.Errorf("handover: message of %d bytes and %d files, want at most %d and %d", size, count, MaxMessage, MaxFiles)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(c.c, text); err != nil {
		return nil, fmt.Errorf("handover: receive: %w", err)
	}
	var files []*os.File
	for len(files) < int(count) {
		some, err := c.receiveFiles()
		files = append(files, some...)
		if err == nil && (len(some) == 0 || len(files) > int(count)) {
			err = fmt.Errorf("%d of %d came", len(files), count)
		}
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("handover: receive files: %w", err)
		}
	}
	if err := strictly(text, v); err != nil {
		closeAll(files)
		return nil, fmt.Errorf("handover: read: %w", err)
	}
	return files, nil
}

func (c *Conn) receiveFiles() ([]*os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4*filesAtOnce))
	var buf [1]byte
	_, n, flags, _, err := c.c.ReadMsgUnix(buf[:], oob)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // something else than files
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "taken"))
		}
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return files, errors.New("cut off: too many open files?")
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
