package site

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Sniffer notes when the last BFD packet came to the router from a peer, by the kernel's clock at the interface.
type Sniffer struct {
	fd   int
	last atomic.Int64
	stop atomic.Bool
	wait sync.WaitGroup
}

// bfdPort is that of single-hop control packets (RFC 5881, section 4).
const bfdPort = 3784

// Sniff watches the router's wire to a peer.
func (s *Site) Sniff(p *Peer) (*Sniffer, error) {
	link, err := s.Edge.LinkByName(p.Interface)
	if err != nil {
		return nil, err
	}
	x := &Sniffer{fd: -1}
	err = s.Edge.Do(func() error {
		proto := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
		var err error
		if x.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(proto)); err != nil {
			return err
		}
		if err := unix.Bind(x.fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: link.Attrs().Index}); err != nil {
			return err
		}
		// So that the reader notices that it is to stop.
		if err := unix.SetsockoptTimeval(x.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
			return err
		}
		return unix.SetsockoptInt(x.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	if err != nil {
		if x.fd >= 0 {
			unix.Close(x.fd)
		}
		return nil, fmt.Errorf("sniffer: %w", err)
	}
	x.wait.Go(x.read)
	return x, nil
}

func (x *Sniffer) read() {
	buf, oob := make([]byte, 256), make([]byte, 128)
	for !x.stop.Load() {
		n, on, _, from, err := unix.Recvmsg(x.fd, buf, oob, 0)
		if err != nil {
			continue
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if head := int(buf[0]&15) * 4; n >= head+8 && buf[9] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(buf[head+2:]) == bfdPort {
			x.last.Store(arrival(oob[:on]))
		}
	}
}

// Last is when the last one came, in nanoseconds since 1970; 0: none did.
func (x *Sniffer) Last() int64 { return x.last.Load() }

// Close ends the watch.
func (x *Sniffer) Close() {
	x.stop.Store(true)
	x.wait.Wait()
	unix.Close(x.fd)
}
