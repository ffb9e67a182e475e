package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// tokensFirst is the lowest token: what TCP sends to lower ports is not heard.
const tokensFirst = 0xf000

// ear hears replies to proofs of a kind and family by all interfaces.
type ear struct {
	medium
	file  *os.File
	raw   syscall.RawConn
	ended chan struct{}

	mu      sync.Mutex // guards waiting: proofs come and go while the reader reads
	waiting map[earKey]earWaiter
	buf     [512]byte
	oob     [256]byte
}

// earKey is how a reply is known: who sent it, to which of our addresses, with which token.
type earKey struct {
	from  netip.AddrPort
	to    netip.Addr
	token uint16
}

type earWaiter struct {
	sent time.Time
	got  chan reply // room for one
}

func openEar(m medium) (*ear, error) {
	e := &ear{medium: m, ended: make(chan struct{}), waiting: map[earKey]earWaiter{}}
	domain, protocol := unix.AF_INET6, unix.IPPROTO_ICMPV6
	if m.v4 {
		domain, protocol = unix.AF_INET, unix.IPPROTO_ICMP
	}
	if m.kind == TCP {
		protocol = unix.IPPROTO_TCP
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("make socket", err)
	}
	if err := e.prepare(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	e.file = os.NewFile(uintptr(fd), "proofs "+string(m.kind))
	if e.raw, err = e.file.SyscallConn(); err != nil {
		e.file.Close()
		return nil, err
	}
	go e.read()
	return e, nil
}

func (e *ear) prepare(fd int) error {
	level, info := unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	if e.v4 {
		level, info = unix.IPPROTO_IP, unix.IP_PKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, info, 1); err != nil {
		return os.NewSyscallError("ask for packet information", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return os.NewSyscallError("ask for timestamps", err)
	}
	if e.kind == ICMP {
		return os.NewSyscallError("set filter", filterEcho(fd, e.v4))
	}
	program, err := bpf.Assemble(answersOnly(e.v4))
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return os.NewSyscallError("set filter", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}))
}

// Offsets in a TCP header, and flags.
const (
	tcpDestination = 2
	tcpFlags       = 13
	flagSYN        = 0x02
	flagRST        = 0x04
	flagACK        = 0x10
)

// answersOnly lets through what answers the opening of a connection from a token's port. A raw socket hears all TCP of this
// machine, also a full table of BGP. IPv4's begins with the IP header, IPv6's with that of TCP.
func answersOnly(v4 bool) []bpf.Instruction {
	program := []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegX, Val: 0}}
	if v4 {
		program = []bpf.Instruction{bpf.LoadMemShift{Off: 0}}
	}
	return append(program,
		bpf.LoadIndirect{Off: tcpDestination, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: tokensFirst, SkipFalse: 3},
		bpf.LoadIndirect{Off: tcpFlags, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: flagSYN | flagRST, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0})
}

// listen waits for the reply to a proof, until done.
func (e *ear) listen(q Proof) (got <-chan reply, done func(), err error) {
	k := earKey{netip.AddrPortFrom(q.Target.Address.WithZone(""), q.Target.Port), q.Source.WithZone(""), q.Token}
	w := earWaiter{time.Now(), make(chan reply, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.waiting[k]; ok {
		return nil, nil, fmt.Errorf("a proof as %v to %v is under way", q.Address, q.Target)
	}
	e.waiting[k] = w
	return w.got, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.waiting, k)
	}, nil
}

// read takes replies until the socket is closed.
func (e *ear) read() {
	defer close(e.ended)
	err := e.raw.Read(func(fd uintptr) bool {
		for { // until nothing is there: the poller tells only of what comes after that
			n, oobn, _, from, err := unix.Recvmsg(int(fd), e.buf[:], e.oob[:], unix.MSG_DONTWAIT)
			if err != nil {
				break
			}
			e.take(e.buf[:n], e.oob[:oobn], from, time.Now())
		}
		return false
	})
	_ = err // the end is always an error: the socket was closed
}

func (e *ear) take(b, oob []byte, from unix.Sockaddr, now time.Time) {
	var r reply
	k := earKey{}
	switch f := from.(type) {
	case *unix.SockaddrInet4:
		k.from = netip.AddrPortFrom(netip.AddrFrom4(f.Addr), 0)
	case *unix.SockaddrInet6:
		k.from = netip.AddrPortFrom(netip.AddrFrom16(f.Addr), 0)
	}
	if e.v4 {
		if len(b) < 20 {
			return
		}
		b = b[min(int(b[0]&0xf)*4, len(b)):]
	}
	if e.kind == TCP {
		if len(b) <= tcpFlags {
			return
		}
		k.from = netip.AddrPortFrom(k.from.Addr(), binary.BigEndian.Uint16(b))
		k.token = binary.BigEndian.Uint16(b[tcpDestination:])
	} else {
		if len(b) < 8 {
			return
		}
		k.token = binary.BigEndian.Uint16(b[4:])
	}
	came := r.control(oob)
	k.to = r.to
	e.mu.Lock()
	w, ok := e.waiting[k]
	e.mu.Unlock()
	if !ok {
		return
	}
	if r.rtt = now.Sub(w.sent); !came.IsZero() {
		// The kernel's time is the wall clock, which may have been set meanwhile.
		r.rtt = min(max(came.Sub(w.sent.Round(0)), 0), r.rtt)
	}
	select {
	case w.got <- r:
	default: // answered twice
	}
}

func (e *ear) close() {
	e.file.Close()
	<-e.ended
}
