package session

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// dialTCP connects to the neighbor from the local address.
func dialTCP(ctx context.Context, cfg *Config) (net.Conn, error) {
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(cfg.Local, 0)),
		KeepAlive: -1, // BGP has its own
		Control: func(_, _ string, raw syscall.RawConn) error {
			return control(raw, func(fd int) error { return setNeighbor(fd, cfg) })
		},
	}
	d.SetMultipathTCP(false) // see Listener.listen
	return d.DialContext(ctx, "tcp", netip.AddrPortFrom(cfg.Neighbor, cfg.port()).String())
}

// cancelDial gives up the dial under way, if there is one.
func (l *loop) cancelDial() {
	if l.dialCancel != nil {
		l.dialCancel()
		l.dialCancel = nil
		l.dialSerial++
	}
}

// unread reports whether the kernel holds bytes of the connection that nobody has read.
func unread(nc net.Conn) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	if err := raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }); err != nil {
		return false
	}
	return n > 0
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// addrPort is the zero value for what is no TCP address.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
