package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// control runs f on the descriptor of a socket.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// setNeighbor sets what the neighbor wants of a socket that will connect to it.
func setNeighbor(fd int, cfg *Config) error {
	if len(cfg.Password) > 0 {
		if err := setMD5(fd, cfg.Neighbor, cfg.Password); err != nil {
			return err
		}
	}
	return setTTL(fd, cfg)
}

// setTTL sets what is sent and taken: with GTSM 255 both ways (RFC 5082), else 1, for an external neighbor is on the
// same network and nobody behind it is meant.
func setTTL(fd int, cfg *Config) error {
	ttl, low := 1, 0
	if cfg.TTLSecurity {
		ttl, low = 255, 255
	}
	if err := setSendTTL(fd, cfg.Neighbor.Is4(), ttl); err != nil {
		return err
	}
	if low == 0 {
		return nil
	}
	if cfg.Neighbor.Is4() {
		return os.NewSyscallError("set IP_MINTTL", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, low))
	}
	return os.NewSyscallError("set IPV6_MINHOPCOUNT", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, low))
}

func setSendTTL(fd int, ipv4 bool, ttl int) error {
	if ipv4 {
		return os.NewSyscallError("set IP_TTL", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl))
	}
	return os.NewSyscallError("set IPV6_UNICAST_HOPS", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl))
}

// setFree lets a socket be bound to an address that is not there yet, so that a link that comes later is served.
func setFree(fd int, ipv4 bool) error {
	if ipv4 {
		return os.NewSyscallError("set IP_FREEBIND", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1))
	}
	return os.NewSyscallError("set IPV6_FREEBIND", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1))
}

// setMD5 sets the key for what goes to and comes from a neighbor (RFC 2385); an empty key takes it away.
func setMD5(fd int, neighbor netip.Addr, key []byte) error {
	sig := unix.TCPMD5Sig{Keylen: uint16(len(key))}
	if len(key) > len(sig.Key) {
		return fmt.Errorf("password of %d bytes, at most %d", len(key), len(sig.Key))
	}
	copy(sig.Key[:], key)
	// struct sockaddr_in and sockaddr_in6, from behind the family: the port, for IPv6 the flow label, the address.
	if neighbor.Is4() {
		sig.Addr.Family = unix.AF_INET
		a := neighbor.As4()
		copy(sig.Addr.Data[2:], a[:])
	} else {
		sig.Addr.Family = unix.AF_INET6
		a := neighbor.As16()
		copy(sig.Addr.Data[6:], a[:])
		if index, err := zoneIndex(neighbor); err == nil {
			binary.NativeEndian.PutUint32(sig.Addr.Data[22:], index)
		}
	}
	err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig)
	if len(key) == 0 && errors.Is(err, unix.ENOENT) {
		return nil // there was none
	}
	return os.NewSyscallError("set TCP_MD5SIG", err)
}

// zoneIndex is the index of the interface that a link-local address names, 0 where it names none.
func zoneIndex(a netip.Addr) (uint32, error) {
	if a.Zone() == "" {
		return 0, nil
	}
	ifi, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return 0, err
	}
	return uint32(ifi.Index), nil
}

// isTemporary reports whether accepting can be tried again.
func isTemporary(err error) bool {
	for _, e := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
