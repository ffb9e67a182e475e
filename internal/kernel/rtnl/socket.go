package rtnl

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/kernel/namespace"
)

const (
	// bufferBytes is what the kernel may queue for us. The default (208 KiB) overflows at a burst of a few hundred events.
	bufferBytes = 8 << 20
	// receiveBytes is larger than any datagram that the kernel builds for a dump (32 KiB).
	receiveBytes = 128 << 10
)

// socket is a netlink socket with buffers of its own. It is not safe for concurrent use.
type socket struct {
	conn *netlink.Conn
	raw  syscall.RawConn
	seq  uint32
	w    writer
	in   []byte
}

// dial opens a socket in the namespace ns. pid 0 lets the kernel choose the port.
func dial(ns int, family int, pid uint32) (*socket, error) {
	conn, err := namespace.Dial(ns, family, pid)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	s := &socket{conn: conn, in: make([]byte, receiveBytes)}
	// Without these answers are longer, or say less; no kernel that has nexthop objects lacks them.
	for _, o := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.CapAcknowledge, netlink.GetStrictCheck} {
		if o == netlink.GetStrictCheck && family != unix.NETLINK_ROUTE {
			continue
		}
		if err := conn.SetOption(o, true); err != nil {
			conn.Close()
			return nil, fmt.Errorf("set option of netlink socket: %w", err)
		}
	}
	if err := errors.Join(conn.SetReadBuffer(bufferBytes), conn.SetWriteBuffer(bufferBytes)); err != nil {
		conn.Close()
		return nil, fmt.Errorf("set buffers of netlink socket: %w", err)
	}
	if s.raw, err = conn.SyscallConn(); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) close() error { return s.conn.Close() }

func (s *socket) nextSeq() uint32 {
	s.seq++
	return s.seq
}

// send sends the writer's messages in one datagram. The kernel handles it before send returns.
func (s *socket) send() error {
	var err error
	cerr := s.raw.Write(func(fd uintptr) bool {
		for {
			_, err = unix.Write(int(fd), s.w.b)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("send to the kernel: %w", err)
	}
	return nil
}

// receive reads one datagram, which is valid until the next call.
func (s *socket) receive() ([]byte, error) {
	var n int
	var err error
	cerr := s.raw.Read(func(fd uintptr) bool {
		for {
			n, err = unix.Read(int(fd), s.in)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("receive from the kernel: %w", err)
	}
	return s.in[:n], nil
}

// ask sends the message in the writer and gives the answer to fn, if there is one. The message carries NLM_F_ACK.
func (s *socket) ask(fn func(typ uint16, payload []byte)) error {
	seq := s.seq
	if err := s.send(); err != nil {
		return err
	}
	for {
		b, err := s.receive()
		if err != nil {
			return err
		}
		for h, payload := range messages(b) {
			switch {
			case h.seq != seq:
			case h.typ == unix.NLMSG_ERROR:
				return parseError(h.flags, payload, false)
			case fn != nil:
				fn(h.typ, payload)
			}
		}
	}
}
