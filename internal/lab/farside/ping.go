package farside

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// pings remember what was seen of echo requests, by their payload. The kernel answers them; this only watches.
type pings struct {
	mu   sync.Mutex // written by two watchers, read by who pinged
	seen map[string]Answer
}

// Pinged returns what was seen of the echo request with this payload.
func (s *Services) Pinged(payload string) (Answer, bool) {
	s.pings.mu.Lock()
	defer s.pings.mu.Unlock()
	a, ok := s.pings.seen[payload]
	delete(s.pings.seen, payload)
	return a, ok
}

func (s *Services) note(data []byte, protocol int, request icmp.Type, to netip.Addr, from net.Addr, ifindex int) {
	m, err := icmp.ParseMessage(protocol, data)
	if err != nil || m.Type != request {
		return
	}
	echo, ok := m.Body.(*icmp.Echo)
	if !ok {
		return
	}
	ip, _ := netip.AddrFromSlice(from.(*net.IPAddr).IP)
	s.pings.mu.Lock()
	defer s.pings.mu.Unlock()
	if s.pings.seen == nil || len(s.pings.seen) > 4096 {
		s.pings.seen = map[string]Answer{}
	}
	s.pings.seen[string(echo.Data)] = s.answer(to, ip, s.ViaIndex[ifindex])
}

func (s *Services) servePings() error {
	c4, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return err
	}
	s.closers = append(s.closers, c4.Close)
	p4 := ipv4.NewPacketConn(c4)
	if err := p4.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		return err
	}
	s.tasks.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, cm, from, err := p4.ReadFrom(buf)
			if err != nil {
				return
			}
			if to, ok := netip.AddrFromSlice(cm.Dst); ok {
				s.note(buf[:n], 1, ipv4.ICMPTypeEcho, to, from, cm.IfIndex)
			}
		}
	})
	c6, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	s.closers = append(s.closers, c6.Close)
	p6 := ipv6.NewPacketConn(c6)
	if err := p6.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true); err != nil {
		return err
	}
	s.tasks.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, cm, from, err := p6.ReadFrom(buf)
			if err != nil {
				return
			}
			if to, ok := netip.AddrFromSlice(cm.Dst); ok {
				s.note(buf[:n], 58, ipv6.ICMPTypeEchoRequest, to, from, cm.IfIndex)
			}
		}
	})
	return nil
}
