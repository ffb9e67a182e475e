package site

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/lab/netns"
)

// Blast sends 64-byte packets from inside for a while, as many as will go, and gives how many a second arrived at the
// peers. With flows above 1 every packet goes to another port and address in turn, so that each begins a connection
// until all have been begun.
func (s *Site) Blast(destinations []netip.Addr, flows int, lasts time.Duration) (perSecond float64, err error) {
	before, err := s.arrived()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	sent := 0
	err = s.LAN.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		payload := make([]byte, 22) // 64 bytes on the wire with the headers of UDP, IP and Ethernet
		for time.Since(start) < lasts && (flows == 1 || sent < flows) {
			for range 64 {
				to := unix.SockaddrInet4{Port: 5000, Addr: destinations[sent%len(destinations)].As4()}
				if flows > 1 {
					to.Port = 2000 + sent/len(destinations)%60000
				}
				// A packet that a full queue drops is one that does not arrive.
				_ = unix.Sendto(fd, payload, 0, &to)
				if flows > 1 {
					sent++
				}
			}
		}
		return nil
	})
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	time.Sleep(50 * time.Millisecond)
	after, err := s.arrived()
	if err != nil {
		return 0, err
	}
	if after == before {
		return 0, fmt.Errorf("nothing arrived")
	}
	return float64(after-before) / took.Seconds(), nil
}

// arrived counts the packets that came to the peers' wires.
func (s *Site) arrived() (uint64, error) {
	var n uint64
	for _, p := range s.Peers {
		link, err := p.Space.LinkByName(PeerDevice)
		if err != nil {
			return 0, err
		}
		n += link.Attrs().Statistics.RxPackets
	}
	return n, nil
}

// BareNAT makes the router nothing but a default route and a map from the inside network to a pool: what the least
// edge would do in the kernel.
func (s *Site) BareNAT(pool netip.Prefix, nft func(script string) error) error {
	if err := s.Edge.Route(netip.MustParsePrefix("0.0.0.0/0"), 1, netns.Hop{Interface: s.Peers[0].Interface, Gateway: s.Peers[0].Address}); err != nil {
		return err
	}
	return nft(fmt.Sprintf(`table ip bare {
	map pools { type ipv4_addr : interval ipv4_addr; flags interval; elements = { %s : %s } }
	chain out { type nat hook postrouting priority srcnat; oifname "up*" snat ip to ip saddr map @pools persistent; }
}
`, InsideNetwork, span(pool)))
}

func span(p netip.Prefix) string {
	first := p.Masked().Addr().As4()
	last := binary.BigEndian.Uint32(first[:]) | 1<<(32-p.Bits()) - 1
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], last)
	return p.Masked().Addr().String() + "-" + netip.AddrFrom4(b).String()
}
