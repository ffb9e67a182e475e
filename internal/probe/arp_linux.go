package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// ARP over Ethernet for IPv4 (RFC 826).
const (
	arpSize   = 28
	arpWhoHas = 1
	arpIsAt   = 2
)

// arpRequest asks all of the link who has the target.
func arpRequest(index int, hw []byte, source, target netip.Addr) ([]byte, unix.Sockaddr, error) {
	if len(hw) != 6 {
		return nil, nil, fmt.Errorf("interface has no Ethernet address")
	}
	b := make([]byte, arpSize)
	binary.BigEndian.PutUint16(b[0:], unix.ARPHRD_ETHER)
	binary.BigEndian.PutUint16(b[2:], unix.ETH_P_IP)
	b[4], b[5] = 6, 4
	binary.BigEndian.PutUint16(b[6:], arpWhoHas)
	copy(b[8:], hw)
	copy(b[14:], source.AsSlice())
	copy(b[24:], target.AsSlice())
	to := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: index, Halen: 6}
	copy(to.Addr[:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	return b, to, nil
}

// arpReply reads who says that it has an address, if that was said to us.
func arpReply(b []byte, source netip.Addr) (from netip.Addr, ok bool) {
	if len(b) < arpSize || binary.BigEndian.Uint16(b[2:]) != unix.ETH_P_IP || b[4] != 6 || b[5] != 4 ||
		binary.BigEndian.Uint16(b[6:]) != arpIsAt || netip.AddrFrom4([4]byte(b[24:28])) != source {
		return from, false
	}
	return netip.AddrFrom4([4]byte(b[14:18])), true
}

// networkOrder turns a protocol as AF_PACKET wants it.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// interfaceOf finds an interface's index.
func interfaceOf(name string) (index int, err error) {
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
