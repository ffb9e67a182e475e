package probe

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a datagram socket of a link that all targets of its kind share.
type socket struct {
	medium
	file   *os.File
	raw    syscall.RawConn
	index  int
	source netip.Addr
	hw     []byte // our hardware address, for arp
	id     uint16 // of our echo requests
	ended  chan struct{}
	broken atomic.Bool // a probe could not be sent: the interface may be another one

	mu      sync.Mutex // guards what follows, and that two do not read at once
	seq     uint16
	waiting map[key]*waiter
	buf     [2048]byte
	oob     [256]byte
}

// key is how an answer is known.
type key struct {
	from netip.Addr
	id   uint16
}

// waiter is a probe under way.
type waiter struct {
	target Target
	sent   time.Time
	got    chan reply // room for one
}

// reply is an answer as the kernel gave it to us.
type reply struct {
	rtt   time.Duration
	to    netip.Addr
	index int
}

// openSocket makes the socket and binds it to the link.
func openSocket(cfg Config, m medium) (*socket, error) {
	index, err := interfaceOf(cfg.Interface)
	if err != nil {
		return nil, err
	}
	s := &socket{medium: m, index: index, id: uint16(rand.Uint32()), seq: uint16(rand.Uint32()),
		ended: make(chan struct{}), waiting: map[key]*waiter{}, source: cfg.Source6}
	domain, kind, protocol := unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6
	if m.v4 {
		s.source, domain, protocol = cfg.Source4, unix.AF_INET, unix.IPPROTO_ICMP
	}
	switch m.kind {
	case DNS:
		kind, protocol = unix.SOCK_DGRAM, 0
	case ARP:
		domain, kind, protocol = unix.AF_PACKET, unix.SOCK_DGRAM, 0 // hears nothing before it is bound
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("make socket", err)
	}
	if err := s.prepare(fd, cfg.Mark); err != nil {
		unix.Close(fd)
		return nil, err
	}
	s.file = os.NewFile(uintptr(fd), string(m.kind))
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	go s.read()
	return s, nil
}

func (s *socket) prepare(fd int, mark uint32) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return os.NewSyscallError("ask for timestamps", err)
	}
	if s.kind == ARP {
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: s.index}); err != nil {
			return os.NewSyscallError("bind", err)
		}
		own, err := unix.Getsockname(fd)
		if ll, ok := own.(*unix.SockaddrLinklayer); ok {
			s.hw = ll.Addr[:min(int(ll.Halen), len(ll.Addr))]
		}
		return os.NewSyscallError("look up hardware address", err)
	}
	if err := bindToLink(fd, s.index, mark); err != nil {
		return err
	}
	level, info := unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	if s.v4 {
		level, info = unix.IPPROTO_IP, unix.IP_PKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, info, 1); err != nil {
		return os.NewSyscallError("ask for packet information", err)
	}
	if s.kind == ICMP {
		if err := filterEcho(fd, s.v4); err != nil {
			return os.NewSyscallError("set filter", err)
		}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(netip.AddrPortFrom(s.source, 0), s.index)))
}

// bindToLink is what makes a socket judge one link.
func bindToLink(fd, index int, mark uint32) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index); err != nil {
		return os.NewSyscallError("bind to interface", err)
	}
	if mark == 0 {
		return nil
	}
	return os.NewSyscallError("set mark", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)))
}

// filterEcho lets only echo replies through: a raw socket hears all ICMP of its link.
func filterEcho(fd int, v4 bool) error {
	if v4 {
		const icmpFilter = 1 // ICMP_FILTER of linux/icmp.h, a bit for each type that is dropped
		pass := uint32(1 << echoReply4)
		return unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, int(int32(^pass)))
	}
	f := unix.ICMPv6Filter{}
	for i := range f.Data {
		f.Data[i] = ^uint32(0)
	}
	f.Data[echoReply6/32] &^= 1 << (echoReply6 % 32)
	return unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &f)
}

// sockaddr is an address as unix takes it.
func sockaddr(a netip.AddrPort, index int) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	to := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if a.Addr().IsLinkLocalUnicast() {
		to.ZoneId = uint32(index)
	}
	return to
}

// exchange sends a probe and waits for its answer.
func (s *socket) exchange(ctx context.Context, t Target, timeout time.Duration) (reply, error) {
	s.mu.Lock()
	s.seq++
	k := key{t.Address.WithZone(""), s.seq}
	if s.kind == ARP {
		k.id = 0 // an answer has no number
	}
	packet, to, err := s.compose(t, k.id)
	if err != nil {
		s.mu.Unlock()
		return reply{}, err
	}
	w := &waiter{target: t, sent: time.Now(), got: make(chan reply, 1)}
	s.waiting[k] = w
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, k)
		s.mu.Unlock()
	}()

	if err := s.raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), packet, 0, to) }); err != nil {
		return reply{}, err
	}
	if err != nil {
		s.broken.Store(true)
		return reply{}, os.NewSyscallError("send", err)
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case r := <-w.got:
		return r.within(timeout)
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case <-timer.C:
	}
	// It may be in the socket, and the reader late.
	s.raw.Control(func(fd uintptr) { s.drain(int(fd)) })
	select {
	case r := <-w.got:
		return r.within(timeout)
	default:
		return reply{}, errTimeout
	}
}

// within refuses an answer that came too late, though we were later.
func (r reply) within(timeout time.Duration) (reply, error) {
	if r.rtt > timeout {
		return reply{}, errTimeout
	}
	return r, nil
}

// compose makes a probe.
func (s *socket) compose(t Target, id uint16) ([]byte, unix.Sockaddr, error) {
	switch s.kind {
	case ICMP:
		return echoRequest(s.v4, s.id, id), sockaddr(netip.AddrPortFrom(t.Address, 0), s.index), nil
	case DNS:
		b, err := dnsQuery(id, t.Name)
		return b, sockaddr(t.endpoint(), s.index), err
	case ARP:
		b, to, err := arpRequest(s.index, s.hw, s.source, t.Address)
		return b, to, err
	}
	return nil, nil, fmt.Errorf("no datagrams for %s", s.kind)
}

// read takes answers until the socket is closed.
func (s *socket) read() {
	defer close(s.ended)
	err := s.raw.Read(func(fd uintptr) bool {
		s.drain(int(fd))
		return false
	})
	_ = err // the end is always an error: the socket was closed
}

// drain reads what is there.
func (s *socket) drain(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 256 {
		n, oobn, _, from, err := unix.Recvmsg(fd, s.buf[:], s.oob[:], unix.MSG_DONTWAIT)
		if err != nil {
			return // nothing there; or an error that is gone by having been read
		}
		s.take(s.buf[:n], s.oob[:oobn], from, time.Now())
	}
}

// take finds the probe that a packet answers.
func (s *socket) take(b, oob []byte, from unix.Sockaddr, now time.Time) {
	r := reply{to: s.source, index: s.index}
	k := key{}
	switch f := from.(type) {
	case *unix.SockaddrInet4:
		k.from = netip.AddrFrom4(f.Addr)
	case *unix.SockaddrInet6:
		k.from = netip.AddrFrom16(f.Addr)
	case *unix.SockaddrLinklayer:
		r.index = f.Ifindex
	}
	var ok bool
	switch s.kind {
	case ICMP:
		k.id, ok = echoReply(b, s.v4, s.id)
	case DNS:
		k.id, ok = dnsAnswer(b)
	case ARP:
		k.from, ok = arpReply(b, s.source)
	}
	w := s.waiting[k]
	if !ok || w == nil {
		return
	}
	came := r.control(oob)
	r.rtt = now.Sub(w.sent)
	if !came.IsZero() {
		// The kernel's time is the wall clock, which may have been set meanwhile.
		r.rtt = min(max(came.Sub(w.sent.Round(0)), 0), r.rtt)
	}
	select {
	case w.got <- r:
	default: // answered twice
	}
}

// control reads the ancillary data: where the packet came to, and when.
func (r *reply) control(oob []byte) (came time.Time) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return came
	}
	for _, m := range messages {
		h, b := m.Header, m.Data
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(b) >= unix.SizeofInet4Pktinfo:
			i := (*unix.Inet4Pktinfo)(unsafe.Pointer(&b[0]))
			r.to, r.index = netip.AddrFrom4(i.Addr), int(i.Ifindex)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(b) >= unix.SizeofInet6Pktinfo:
			i := (*unix.Inet6Pktinfo)(unsafe.Pointer(&b[0]))
			r.to, r.index = netip.AddrFrom16(i.Addr), int(i.Ifindex)
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(b) >= int(unsafe.Sizeof(unix.Timespec{})):
			came = time.Unix((*unix.Timespec)(unsafe.Pointer(&b[0])).Unix())
		}
	}
	return came
}

func (s *socket) close() {
	s.file.Close()
	<-s.ended
}
