package session

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"bothways/internal/bfd/packet"
)

// Source ports (RFC 5881, section 4): each session has its own.
const (
	firstPort = 49152
	lastPort  = 65535
)

// priorityControl is TC_PRIO_CONTROL of linux/pkt_sched.h.
const priorityControl = 7

// sender is the socket that a session sends from. Nothing is read from it: the neighbor's packets go to the well-known
// port.
type sender struct {
	fd    int // -1 where there is none
	index int // of the interface that it is bound to
	port  uint16
	to    unix.RawSockaddrInet6 // also for IPv4, which is shorter
	toLen uintptr
}

// open binds the socket to the interface and to the local address, so that nothing but this link can be what is judged.
func (s *sender) open(cfg *Config, index int) error {
	domain := unix.AF_INET6
	if cfg.Local.Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("make socket", err)
	}
	if err := s.prepare(fd, cfg, index); err != nil {
		unix.Close(fd)
		return err
	}
	s.fd, s.index = fd, index
	s.address(packet.Port, cfg.Neighbor, index)
	return nil
}

func (s *sender) prepare(fd int, cfg *Config, index int) error {
	// Not unix.BindToDevice: that is by name, and the name may be another interface's by now.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index); err != nil {
		return os.NewSyscallError("bind to interface", err)
	}
	level, ttl, class := unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS
	if cfg.Local.Is4() {
		level, ttl, class = unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS
	}
	if err := unix.SetsockoptInt(fd, level, ttl, 255); err != nil { // RFC 5881, section 5
		return os.NewSyscallError("set TTL", err)
	}
	// Ahead of user traffic, here and on the way: network control (CS6). It is a wish; without it packets go too.
	_ = unix.SetsockoptInt(fd, level, class, 0xc0)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, priorityControl)
	return s.bind(fd, cfg, index)
}

// bind finds a free source port. A session that had one asks for it again: it should not change (RFC 5881, section 4).
func (s *sender) bind(fd int, cfg *Config, index int) error {
	port := int(s.port)
	for range 200 {
		if port == 0 {
			port = firstPort + rand.IntN(lastPort-firstPort+1)
		}
		var local unix.Sockaddr
		if cfg.Local.Is4() {
			local = &unix.SockaddrInet4{Port: port, Addr: cfg.Local.As4()}
		} else {
			local = &unix.SockaddrInet6{Port: port, Addr: cfg.Local.As16(), ZoneId: scope(cfg.Local, index)}
		}
		err := unix.Bind(fd, local)
		if err == nil {
			s.port = uint16(port)
			return nil
		}
		if err != unix.EADDRINUSE {
			return os.NewSyscallError("bind", err)
		}
		port = 0
	}
	return fmt.Errorf("no free source port for %v", cfg.Local)
}

// scope is the interface of a link-local address, 0 for others.
func scope(a netip.Addr, index int) uint32 {
	if a.IsLinkLocalUnicast() {
		return uint32(index)
	}
	return 0
}

// address writes where the packets go, as the kernel takes it.
func (s *sender) address(port uint16, a netip.Addr, index int) {
	var network uint16
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&network))[:], port)
	if a.Is4() {
		to := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.to))
		*to = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: network, Addr: a.As4()}
		s.toLen = unix.SizeofSockaddrInet4
		return
	}
	s.to = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: network, Addr: a.As16(), Scope_id: scope(a, index)}
	s.toLen = unix.SizeofSockaddrInet6
}

// send writes one packet. It cannot block, so the runtime is not told of it: that could cost us the processor.
func (s *sender) send(b [packet.Size]byte) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b)), packet.Size,
		unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&s.to)), s.toLen)
	return errno
}

// close keeps the port for the next socket.
func (s *sender) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}

// interfaceIndex finds an interface by its name, without a conversation with the kernel.
func interfaceIndex(name string) (int, error) {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("make socket", err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r); err != nil {
		return 0, os.NewSyscallError("look up interface", err)
	}
	return int(r.Uint32()), nil
}

// kick makes an eventfd readable.
func kick(fd int) {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(fd, one[:])
}

// calm takes what was kicked.
func calm(fd int) {
	var b [8]byte
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b)), 8)
}
