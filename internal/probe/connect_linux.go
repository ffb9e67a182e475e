package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dial makes a connection by the link.
func (l *link) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.cfg.source(to.Addr()), 0)),
		KeepAlive: -1,
		Control: func(_, _ string, c syscall.RawConn) error {
			index, err := interfaceOf(l.cfg.Interface)
			if err != nil {
				return err
			}
			cerr := c.Control(func(fd uintptr) {
				if err = bindToLink(int(fd), index, l.cfg.Mark); err == nil {
					// The port is chosen when the destination is known, so that probes do not run out of them.
					err = os.NewSyscallError("bind late", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
				}
			})
			if cerr != nil {
				return cerr
			}
			return err
		},
	}
	d.SetMultipathTCP(false) // its other subflows could take other links
	var nc net.Conn
	var err error
	l.p.within(func() { nc, err = d.DialContext(ctx, "tcp", to.String()) })
	return nc, err
}

// used reads from the socket of a connection what it is bound to: packets by another interface are not its own.
func (l *link) used(nc net.Conn) Used {
	u := Used{Mark: l.cfg.Mark, Interface: "unknown"}
	if a, ok := nc.LocalAddr().(*net.TCPAddr); ok {
		u.Source = a.AddrPort().Addr().Unmap().WithZone("")
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return u
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			if name, err := unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err == nil {
				u.Interface = name
			}
		})
	}
	return u
}

// tcp makes a connection and ends it.
func (l *link) tcp(ctx context.Context, t Target) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.timeout())
	defer cancel()
	start := time.Now()
	nc, err := l.dial(ctx, t.endpoint())
	if err != nil {
		return answer{}, err
	}
	defer nc.Close()
	return answer{time.Since(start), l.used(nc)}, nil
}

// http gets a page on a connection of its own. Redirects are answers. The certificate is not looked at: the question is
// whether the path works, nothing is told to who answers, and targets are often asked by address.
func (l *link) http(ctx context.Context, t Target) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.timeout())
	defer cancel()
	a := answer{}
	start := time.Now()
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			nc, err := l.dial(ctx, t.endpoint())
			if err == nil {
				a.used = l.used(nc)
			}
			return nc, err
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL, nil)
	if err != nil {
		return a, err
	}
	req.Header.Set("User-Agent", "bothways-probe")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return a, fmt.Errorf("answered %s", resp.Status)
	}
	a.rtt = time.Since(start)
	return a, nil
}
