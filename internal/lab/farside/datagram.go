package farside

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// datagram is a received packet with where it came in.
type datagram struct {
	data   []byte
	from   netip.AddrPort
	to     netip.Addr
	ifidx  int
	sendTo func([]byte) error // answers from the address that was asked
}

// serveDatagrams handles the packets of a UDP port, in order, on one goroutine per family.
func (s *Services) serveDatagrams(port int, handle func(datagram)) error {
	for _, network := range []string{"udp4", "udp6"} {
		c, err := (&net.ListenConfig{}).ListenPacket(context.Background(), network, fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		s.closers = append(s.closers, c.Close)
		if err := enlarge(c.(*net.UDPConn)); err != nil {
			return err
		}
		if network == "udp4" {
			err = s.serve4(ipv4.NewPacketConn(c), handle)
		} else {
			err = s.serve6(ipv6.NewPacketConn(c), handle)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enlarge gives a socket room for a long pause of this process, so that what is counted as lost was lost on the way. In a
// user namespace it gets only as much as the machine allows everybody.
func enlarge(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		for _, opt := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
			set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt[0], 16<<20)
			if errors.Is(set, unix.EPERM) {
				set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt[1], 16<<20)
			}
			if set != nil {
				return
			}
		}
	})
	if err == nil {
		err = set
	}
	return err
}

// Enlarge does the same for a client's socket.
func Enlarge(c *net.UDPConn) error { return enlarge(c) }

func (s *Services) serve4(c *ipv4.PacketConn, handle func(datagram)) error {
	if err := c.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		return err
	}
	s.tasks.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, cm, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if cm == nil {
				continue
			}
			to, _ := netip.AddrFromSlice(cm.Dst)
			handle(datagram{buf[:n], from.(*net.UDPAddr).AddrPort(), to.Unmap(), cm.IfIndex, func(b []byte) error {
				_, err := c.WriteTo(b, &ipv4.ControlMessage{Src: cm.Dst}, from)
				return err
			}})
		}
	})
	return nil
}

func (s *Services) serve6(c *ipv6.PacketConn, handle func(datagram)) error {
	if err := c.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true); err != nil {
		return err
	}
	s.tasks.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, cm, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if cm == nil {
				continue
			}
			to, _ := netip.AddrFromSlice(cm.Dst)
			handle(datagram{buf[:n], from.(*net.UDPAddr).AddrPort(), to, cm.IfIndex, func(b []byte) error {
				_, err := c.WriteTo(b, &ipv6.ControlMessage{Src: cm.Dst}, from)
				return err
			}})
		}
	})
	return nil
}

// serveLines answers each datagram with what it tells of its sender.
func (s *Services) serveLines() error {
	return s.serveDatagrams(LinePort, func(d datagram) {
		line, err := json.Marshal(s.answer(d.to, d.from.Addr(), s.ViaIndex[d.ifidx]))
		if err == nil {
			_ = d.sendTo(line) // without a route back there is no answer, as it is meant
		}
	})
}

// streams count the packets of steady streams by the stream's number.
type streams struct {
	mu   sync.Mutex // guards the map; the counters are atomic
	byID map[uint64]*StreamCount
}

// StreamCount is what a service saw of a stream.
type StreamCount struct {
	Arrived atomic.Uint64 // at the service
	Echoed  atomic.Uint64 // sent back without an error
	// Last is the number of the newest packet, Changed how often the client's address as seen here changed.
	Last, Changed atomic.Uint64
	seen          netip.AddrPort // owned by the serving goroutine
}

// StreamHeader is the size of what every packet of a stream begins with: its stream's number and its own.
const StreamHeader = 16

// Stream begins to count a stream.
func (s *Services) Stream(id uint64) *StreamCount {
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	if s.streams.byID == nil {
		s.streams.byID = map[uint64]*StreamCount{}
	}
	c := &StreamCount{}
	s.streams.byID[id] = c
	return c
}

// EndStream forgets a stream.
func (s *Services) EndStream(id uint64) {
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	delete(s.streams.byID, id)
}

func (s *Services) serveStreams() error {
	return s.serveDatagrams(StreamPort, func(d datagram) {
		if len(d.data) < StreamHeader {
			return
		}
		s.streams.mu.Lock()
		c := s.streams.byID[binary.BigEndian.Uint64(d.data)]
		s.streams.mu.Unlock()
		if c == nil {
			return
		}
		c.Arrived.Add(1)
		c.Last.Store(max(c.Last.Load(), binary.BigEndian.Uint64(d.data[8:])))
		if c.seen != d.from {
			if c.seen.IsValid() {
				c.Changed.Add(1)
			}
			c.seen = d.from
		}
		if d.sendTo(d.data) == nil {
			c.Echoed.Add(1)
		}
	})
}
