package probe

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sender is the socket that a proof left by. It hears nothing: its ear does.
type sender struct {
	file *os.File
	raw  syscall.RawConn
	kind Kind
}

// send makes a socket that belongs to the link, and sends the proof.
func send(q Proof) (*sender, error) {
	index, err := interfaceOf(q.Interface)
	if err != nil {
		return nil, err
	}
	domain, kind, protocol := unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6
	if q.Source.Is4() {
		domain, protocol = unix.AF_INET, unix.IPPROTO_ICMP
	}
	port := uint16(0)
	if q.Target.Kind == TCP {
		kind, protocol, port = unix.SOCK_STREAM, unix.IPPROTO_TCP, q.Token
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("make socket", err)
	}
	s := &sender{kind: q.Target.Kind}
	if err := s.send(fd, index, port, q); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// Only now: what the poller saw of the socket before it was connected would count as open.
	s.file = os.NewFile(uintptr(fd), "proof")
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

func (s *sender) send(fd, index int, port uint16, q Proof) error {
	if err := bindToLink(fd, index, q.Mark); err != nil {
		return err
	}
	if s.kind == TCP {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("reuse address", err)
		}
		// It ends with a reset: nothing of it stays at the other end.
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return os.NewSyscallError("set linger", err)
		}
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(q.Source, port), index)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	to := sockaddr(netip.AddrPortFrom(q.Target.Address, q.Target.Port), index)
	if s.kind == ICMP {
		to = sockaddr(netip.AddrPortFrom(q.Target.Address, 0), index)
		return os.NewSyscallError("send", unix.Sendto(fd, echoRequest(q.Source.Is4(), q.Token, uint16(rand.Uint32())), 0, to))
	}
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return os.NewSyscallError("connect", err)
	}
	// The packet has left by the link. The answer may come by any interface, and this machine shall not refuse it then: the
	// mark alone leads what follows.
	return os.NewSyscallError("unbind", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 0))
}

// settleTime is how long a connection may take to be open once its answer was heard.
const settleTime = 50 * time.Millisecond

// close ends it. A connection is let open first, so that it ends with a reset that takes its own way.
func (s *sender) close() {
	if s.kind == TCP && s.file.SetWriteDeadline(time.Now().Add(settleTime)) == nil {
		waited := false
		_ = s.raw.Write(func(uintptr) bool { // open, refused or too late: it is closed in any case
			open := waited
			waited = true
			return open
		})
	}
	s.file.Close()
}
