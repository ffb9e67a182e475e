package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Tracked is an established TCP connection over IPv4, as it is put into the kernel's table.
type Tracked struct {
	Source, Destination netip.AddrPort
	// Translated is the source as the other end sees it; invalid: as it is.
	Translated netip.AddrPort
	Mark       uint32
}

// Values of linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaTimeout    = 7
	ctaMark       = 8

	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaIPv4Src    = 1
	ctaIPv4Dst    = 2
	ctaProtoNum   = 1
	ctaProtoSrc   = 2
	ctaProtoDst   = 3

	statusSeenReply = 1 << 1
	statusAssured   = 1 << 2
	statusConfirmed = 1 << 3

	ipctnlMsgNew = 0
)

// trackBatch is how many connections go into one request, trackTime how long they stay, in seconds.
const (
	trackBatch = 128
	trackTime  = 600
)

// Track puts n connections into the table of the calling thread's namespace, and returns how many there was room for. The
// kernel makes no room for more by throwing such connections out.
func Track(n int, connection func(i int) Tracked) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	taken := 0
	for first := 0; first < n; first += trackBatch {
		last := min(first+trackBatch, n) - 1
		var request []byte
		for i := first; i <= last; i++ {
			flags := netlink.Request | netlink.Create | netlink.Excl
			if i == last {
				flags |= netlink.Acknowledge
			}
			m, err := trackMessage(connection(i), flags, uint32(i+1))
			if err != nil {
				return taken, err
			}
			request = append(request, m...)
		}
		if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return taken, err
		}
		full, err := trackAnswers(fd, uint32(last+1))
		taken += last - first + 1 - full
		if err != nil || full > 0 {
			return taken, err
		}
	}
	return taken, nil
}

func trackMessage(t Tracked, flags netlink.HeaderFlags, sequence uint32) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	tuple := func(from, to netip.AddrPort) func(*netlink.AttributeEncoder) error {
		return func(e *netlink.AttributeEncoder) error {
			e.Nested(ctaTupleIP, func(e *netlink.AttributeEncoder) error {
				e.Bytes(ctaIPv4Src, from.Addr().AsSlice())
				e.Bytes(ctaIPv4Dst, to.Addr().AsSlice())
				return nil
			})
			e.Nested(ctaTupleProto, func(e *netlink.AttributeEncoder) error {
				e.Uint8(ctaProtoNum, unix.IPPROTO_TCP)
				e.Uint16(ctaProtoSrc, from.Port())
				e.Uint16(ctaProtoDst, to.Port())
				return nil
			})
			return nil
		}
	}
	ae.Nested(ctaTupleOrig, tuple(t.Source, t.Destination))
	seen := t.Source
	if t.Translated.IsValid() {
		seen = t.Translated
	}
	ae.Nested(ctaTupleReply, tuple(t.Destination, seen))
	ae.Uint32(ctaStatus, statusSeenReply|statusAssured|statusConfirmed)
	ae.Uint32(ctaTimeout, trackTime)
	ae.Uint32(ctaMark, t.Mark)
	attributes, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	m := netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | ipctnlMsgNew, Flags: flags, Sequence: sequence},
		Data:   append([]byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0}, attributes...),
	}
	m.Header.Length = uint32(syscall.NLMSG_HDRLEN + len(m.Data))
	return m.MarshalBinary()
}

// trackAnswers reads until the answer to the last message, and counts those that found no room.
func trackAnswers(fd int, last uint32) (full int, err error) {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return full, err
		}
		answers, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return full, err
		}
		for _, a := range answers {
			if a.Header.Type != unix.NLMSG_ERROR || len(a.Data) < 4 {
				return full, fmt.Errorf("conntrack: unexpected answer of type %d", a.Header.Type)
			}
			switch errno := syscall.Errno(-int32(binary.NativeEndian.Uint32(a.Data))); {
			case errno == unix.ENOMEM:
				full++
			case errno != 0:
				return full, os.NewSyscallError("conntrack", errno)
			}
			if a.Header.Seq == last {
				return full, nil
			}
		}
	}
}
