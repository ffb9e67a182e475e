package session

import (
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bothways/internal/bfd/packet"
)

// Sizes of what is read at once.
const (
	batch       = 32
	dataSize    = 64 // more than any control packet without authentication
	controlSize = 128
	buffered    = 1 << 20 // bytes that may wait in the kernel while we are late
)

// datagram is a packet and what the kernel knows of it. It is valid until the next one.
type datagram struct {
	data   []byte
	source netip.Addr // without a zone
	index  int        // of the interface that it came by
	ttl    int
	at     time.Time
}

// mmsghdr is what recvmmsg(2) fills in.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// receiver is a socket that hears all neighbors of a family.
type receiver struct {
	fd      int
	emptied time.Time // when there was nothing left to read

	heads    [batch]mmsghdr
	iovs     [batch]unix.Iovec
	names    [batch]unix.RawSockaddrInet6 // also for IPv4, which is shorter
	controls [batch][controlSize]byte
	data     [batch][dataSize]byte
}

// option is a socket option that is a number.
type option struct{ level, name, value int }

// listen opens the socket.
func listen(v4 bool) (*receiver, error) {
	var any unix.Sockaddr = &unix.SockaddrInet6{Port: packet.Port}
	domain, ttlAt := unix.AF_INET6, uint32(7)
	options := []option{
		{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
		{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
		{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
	}
	if v4 {
		any, domain, ttlAt = &unix.SockaddrInet4{Port: packet.Port}, unix.AF_INET, 8
		options = []option{{unix.IPPROTO_IP, unix.IP_PKTINFO, 1}, {unix.IPPROTO_IP, unix.IP_RECVTTL, 1}}
	}
	options = append(options, option{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1})
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("make socket", err)
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("set socket option", err)
		}
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffered) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffered) // as much as may be
	}
	if err := filterTTL(fd, ttlAt); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("set filter", err)
	}
	if err := unix.Bind(fd, any); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("listen on UDP port 3784", err)
	}
	return newReceiver(fd), nil
}

// filterTTL has the kernel drop what comes from further away than the next hop before it takes room in the queue: a
// flood from afar cannot push a neighbor's packets out of it. IP_MINTTL would say the same, but Linux has it for TCP only.
func filterTTL(fd int, at uint32) error {
	network := uint32(0xfff00000) // SKF_NET_OFF: from the start of the IP header
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: network + at},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: 255},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

func newReceiver(fd int) *receiver {
	r := &receiver{fd: fd, emptied: time.Now()}
	for i := range r.heads {
		r.iovs[i].Base = &r.data[i][0]
		r.iovs[i].SetLen(dataSize)
		r.heads[i].hdr.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		r.heads[i].hdr.Iov = &r.iovs[i]
		r.heads[i].hdr.SetIovlen(1)
		r.heads[i].hdr.Control = &r.controls[i][0]
	}
	return r
}

func (r *receiver) close() { unix.Close(r.fd) }

// drain reads until there is nothing left, but not for ever.
func (r *receiver) drain(take func(*datagram)) {
	for range 64 {
		for i := range r.heads {
			r.heads[i].hdr.Namelen = unix.SizeofSockaddrInet6
			r.heads[i].hdr.SetControllen(controlSize)
		}
		// It cannot block, so the runtime is not told of it: that could cost us the processor.
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.heads)), batch,
			unix.MSG_DONTWAIT, 0, 0)
		now := time.Now()
		if errno != 0 { // nothing there; or an error that is gone by having been read
			r.emptied = now
			return
		}
		for i := range int(n) {
			d := r.datagram(i, now)
			take(&d)
		}
		if n < batch {
			r.emptied = now
			return
		}
	}
}

// datagram makes sense of one message.
func (r *receiver) datagram(i int, now time.Time) datagram {
	h := &r.heads[i]
	d := datagram{data: r.data[i][:min(h.n, dataSize)], at: now}
	if name := &r.names[i]; name.Family == unix.AF_INET {
		d.source = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	} else {
		d.source = netip.AddrFrom16(name.Addr)
	}
	rest := r.controls[i][:min(int(h.hdr.Controllen), controlSize)]
	for len(rest) >= unix.SizeofCmsghdr {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&rest[0]))
		length := int(c.Len)
		if length < unix.SizeofCmsghdr || length > len(rest) {
			break
		}
		d.control(c, rest[unix.CmsgLen(0):length], now, r.emptied)
		rest = rest[min(unix.CmsgSpace(length-unix.CmsgLen(0)), len(rest)):]
	}
	return d
}

// control reads one piece of ancillary data.
func (d *datagram) control(c *unix.Cmsghdr, b []byte, now, emptied time.Time) {
	switch {
	case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(b) >= unix.SizeofInet4Pktinfo:
		d.index = int((*unix.Inet4Pktinfo)(unsafe.Pointer(&b[0])).Ifindex)
	case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO && len(b) >= unix.SizeofInet6Pktinfo:
		d.index = int((*unix.Inet6Pktinfo)(unsafe.Pointer(&b[0])).Ifindex)
	case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_TTL && len(b) >= 4,
		c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_HOPLIMIT && len(b) >= 4:
		d.ttl = int(*(*int32)(unsafe.Pointer(&b[0])))
	case c.Level == unix.SOL_SOCKET && c.Type == unix.SO_TIMESTAMPNS && len(b) >= int(unsafe.Sizeof(unix.Timespec{})):
		// The kernel's time is the wall clock, which may have been set meanwhile: it counts only between the last time
		// that the socket was empty and now.
		ts := (*unix.Timespec)(unsafe.Pointer(&b[0]))
		age := time.Duration(now.UnixNano() - ts.Nano())
		d.at = now.Add(-min(max(age, 0), now.Sub(emptied)))
	}
}
