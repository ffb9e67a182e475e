package e2e

import (
	"bytes"
	endian "encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/lab/netns"
)

// packet is one of UDP, or of TCP with flags, that carries a marker.
type packet struct {
	from, to netip.AddrPort
	tcp      byte
	marker   byte
}

const (
	flagRST = 4
	flagACK = 16
)

var magic = []byte("guarded packet ")

// sum adds 16-bit words, as the Internet checksum does.
func sum(start uint32, b []byte) uint32 {
	for i, x := range b {
		start += uint32(x) << (8 * (1 - i%2))
	}
	return start
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

func (p packet) bytes() []byte {
	payload := append(bytes.Clone(magic), p.marker)
	upper := make([]byte, 8, 64)
	protocol, at := byte(unix.IPPROTO_UDP), 6
	if p.tcp != 0 {
		upper = make([]byte, 20, 64)
		protocol, at = unix.IPPROTO_TCP, 16
		upper[7], upper[12], upper[13] = 1, 5<<4, p.tcp
	} else {
		endian.BigEndian.PutUint16(upper[4:], uint16(8+len(payload)))
	}
	endian.BigEndian.PutUint16(upper, p.from.Port())
	endian.BigEndian.PutUint16(upper[2:], p.to.Port())
	upper = append(upper, payload...)
	from, to := p.from.Addr().AsSlice(), p.to.Addr().AsSlice()
	endian.BigEndian.PutUint16(upper[at:], fold(sum(sum(sum(uint32(protocol)+uint32(len(upper)), from), to), upper)))
	if p.from.Addr().Is6() {
		head := []byte{6 << 4, 0, 0, 0, 0, byte(len(upper)), protocol, 64}
		return append(append(append(head, from...), to...), upper...)
	}
	head := append(append([]byte{4<<4 | 5, 0, 0, byte(20 + len(upper)), 0, 0, 0, 0, 64, protocol, 0, 0}, from...), to...)
	endian.BigEndian.PutUint16(head[10:], fold(sum(0, head)))
	return append(head, upper...)
}

// rawSocket is a packet socket on the far end of a wire.
func rawSocket(t *testing.T, n *netns.Namespace, protocol uint16) (fd, index int) {
	t.Helper()
	link, err := n.LinkByName("eth0")
	if err == nil {
		index = link.Attrs().Index
		err = n.Do(func() error {
			if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
				return err
			}
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8, Ifindex: index})
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd, index
}

// injector sends whole packets over a wire to the edge.
func injector(t *testing.T, from, edge *netns.Namespace, dev string) func([]byte) {
	t.Helper()
	fd, index := rawSocket(t, from, 0)
	link, err := edge.LinkByName(dev)
	if err != nil {
		t.Fatal(err)
	}
	return func(b []byte) {
		t.Helper()
		protocol := uint16(unix.ETH_P_IP)
		if b[0]>>4 == 6 {
			protocol = unix.ETH_P_IPV6
		}
		to := &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8, Ifindex: index, Halen: 6}
		copy(to.Addr[:], link.Attrs().HardwareAddr)
		if err := unix.Sendto(fd, b, 0, to); err != nil {
			t.Fatal(err)
		}
	}
}

// tap sees what comes over a wire from the edge.
type tap struct{ fd int }

func newTap(t *testing.T, n *netns.Namespace) *tap {
	t.Helper()
	fd, _ := rawSocket(t, n, unix.ETH_P_ALL)
	return &tap{fd}
}

// see waits for the packet with a marker, sees looks for it as long as one that is not stopped could take.
func (x *tap) see(marker byte) (netip.AddrPort, bool) { return x.within(marker, 3*time.Second) }
func (x *tap) sees(marker byte) (netip.AddrPort, bool) {
	return x.within(marker, 50*time.Millisecond)
}

func (x *tap) within(marker byte, limit time.Duration) (from netip.AddrPort, ok bool) {
	buf := make([]byte, 2000)
	for end := time.Now().Add(limit); ; {
		n, sender, err := unix.Recvfrom(x.fd, buf, 0)
		if err == nil {
			if s, ok := sender.(*unix.SockaddrLinklayer); ok && s.Pkttype != unix.PACKET_OUTGOING && bytes.HasSuffix(buf[:n], append(bytes.Clone(magic), marker)) {
				if from, ok := sourceOf(buf[:n]); ok {
					return from, true
				}
			}
			continue
		}
		if time.Now().After(end) {
			return netip.AddrPort{}, false
		}
		time.Sleep(time.Millisecond)
	}
}

// sourceOf is the source of a packet of UDP or TCP. What quotes one, an ICMP error, is none.
func sourceOf(b []byte) (netip.AddrPort, bool) {
	from, head, protocol := b[12:16], 20, b[9]
	if b[0]>>4 == 6 {
		from, head, protocol = b[8:24], 40, b[6]
	}
	a, ok := netip.AddrFromSlice(from)
	return netip.AddrPortFrom(a, endian.BigEndian.Uint16(b[head:])), ok && (protocol == unix.IPPROTO_UDP || protocol == unix.IPPROTO_TCP)
}

// neighbor tells the edge where an address is, once and for all.
func (g *guarded) neighbor(dev string, far *netns.Namespace, a netip.Addr) error {
	link, err := g.edge.LinkByName(dev)
	if err != nil {
		return err
	}
	other, err := far.LinkByName("eth0")
	if err != nil {
		return err
	}
	return g.edge.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: other.Attrs().HardwareAddr})
}

// defaults puts in the edge's default routes, by a link's neighbor.
func (g *guarded) defaults(dev string, metric int) {
	g.t.Helper()
	via := map[string][2]string{"up1": {"192.0.2.2", "2001:db8:1::2"}, "up2": {"192.0.2.6", "2001:db8:2::2"}}[dev]
	for i, p := range []string{"0.0.0.0/0", "::/0"} {
		if err := g.edge.Route(netip.MustParsePrefix(p), metric, netns.Hop{Interface: dev, Gateway: addressOf(via[i])}); err != nil {
			g.t.Fatal(err)
		}
	}
}

// socket is one of the edge's own.
func (g *guarded) socket(local string) *net.UDPConn {
	g.t.Helper()
	var c *net.UDPConn
	err := g.edge.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(local)))
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	return c
}

// routerSpeaks has the edge itself ask somebody, who answers.
func (g *guarded) routerSpeaks(local, remote string, answer func([]byte)) packet {
	g.t.Helper()
	c, p := g.socket(local), flowOf(local, remote)
	if _, err := c.WriteToUDPAddrPort([]byte("ask"), p.to); err != nil {
		g.t.Fatal(err)
	}
	answer(packet{from: p.to, to: p.from}.bytes())
	if _, _, err := c.ReadFromUDPAddrPort(make([]byte, 100)); err != nil {
		g.t.Fatalf("the router's own connection has no answer: %v", err)
	}
	return p
}

// hears wants the edge itself to get what is sent to a port.
func (g *guarded) hears(port uint16, send func()) {
	g.t.Helper()
	c := g.socket(netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
	send()
	if _, _, err := c.ReadFromUDPAddrPort(make([]byte, 100)); err != nil {
		g.t.Errorf("nothing comes to port %d: %v", port, err)
	}
}
