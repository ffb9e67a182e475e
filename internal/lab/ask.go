package lab

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"bothways/internal/lab/farside"
)

// Answer is what a service saw of a request.
type Answer = farside.Answer

// AskTimeout bounds a datagram in any case, and a connection whose context has no deadline.
const AskTimeout = time.Second

// Address is a host's address of a family.
func (w *World) Address(host string, v6 bool) (netip.Addr, error) {
	h, ok := w.Description.Host(host)
	if !ok || !h.Address(v6).IsValid() {
		return netip.Addr{}, fmt.Errorf("no host %q with such an address in this world", host)
	}
	return h.Address(v6), nil
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, AskTimeout)
}

// dial opens a connection from a host to an address, on the host's own address of that family.
func (w *World) dial(ctx context.Context, from, network string, to netip.Addr, port int) (net.Conn, error) {
	own, err := w.Address(from, to.Is6())
	if err != nil {
		return nil, err
	}
	var local net.Addr = &net.TCPAddr{IP: own.AsSlice()}
	if network == "udp" {
		local = &net.UDPAddr{IP: own.AsSlice()}
	}
	var c net.Conn
	err = w.Exec(from, func() error {
		d := net.Dialer{LocalAddr: local}
		d.SetMultipathTCP(false)
		c, err = d.DialContext(ctx, network, net.JoinHostPort(to.String(), strconv.Itoa(port)))
		return err
	})
	return c, err
}

// Ask makes a new HTTP request over a new connection from an inside host, and returns what the service saw of it.
func (w *World) Ask(ctx context.Context, from string, to netip.Addr) (Answer, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var a Answer
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return w.dial(ctx, from, "tcp", to, farside.HTTPPort)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+netip.AddrPortFrom(to, farside.HTTPPort).String()+"/", nil)
	if err != nil {
		return a, err
	}
	res, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	return a, json.NewDecoder(io.LimitReader(res.Body, 4096)).Decode(&a)
}

// AskUDP sends one datagram from a new port, and returns what the service saw of it. It never waits longer than
// AskTimeout: nobody sends a lost datagram again.
func (w *World) AskUDP(ctx context.Context, from string, to netip.Addr) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, AskTimeout)
	defer cancel()
	var a Answer
	c, err := w.dial(ctx, from, "udp", to, farside.LinePort)
	if err != nil {
		return a, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write([]byte("?\n")); err != nil {
		return a, err
	}
	buf := make([]byte, 2048)
	n, err := c.Read(buf)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(buf[:n], &a)
}

// Ping sends one echo request, waits for the reply, and returns what was seen of the request at its destination.
// It never waits longer than AskTimeout.
func (w *World) Ping(ctx context.Context, from string, to netip.Addr) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, AskTimeout)
	defer cancel()
	own, err := w.Address(from, to.Is6())
	if err != nil {
		return Answer{}, err
	}
	payload := make([]byte, 24)
	if _, err := rand.Read(payload); err != nil {
		return Answer{}, err
	}
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(payload[0])<<8 | int(payload[1]), Seq: 1, Data: payload}}
	network, protocol, reply := "ip4:icmp", 1, icmp.Type(ipv4.ICMPTypeEchoReply)
	if to.Is6() {
		m.Type, network, protocol, reply = ipv6.ICMPTypeEchoRequest, "ip6:ipv6-icmp", 58, ipv6.ICMPTypeEchoReply
	}
	data, err := m.Marshal(nil)
	if err != nil {
		return Answer{}, err
	}
	var c net.PacketConn
	if err := w.Exec(from, func() error { c, err = net.ListenPacket(network, own.String()); return err }); err != nil {
		return Answer{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.WriteTo(data, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return Answer{}, err
	}
	buf := make([]byte, 2048)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return Answer{}, err
		}
		got, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || got.Type != reply {
			continue
		}
		if echo, ok := got.Body.(*icmp.Echo); ok && string(echo.Data) == string(payload) {
			break
		}
	}
	// The kernel may reply before the watcher at the destination has run.
	var a Answer
	err = Eventually(ctx, func() error {
		for _, s := range []*farside.Services{w.cloud, w.internet} {
			if seen, ok := s.Pinged(string(payload)); ok {
				a = seen
				return nil
			}
		}
		return errors.New("the reply came, and nobody saw the request")
	})
	return a, err
}

// Conn is a TCP connection to a service that is kept, and asked again and again.
type Conn struct {
	net.Conn
	lines *bufio.Reader
}

// Connect opens one.
func (w *World) Connect(ctx context.Context, from string, to netip.Addr) (*Conn, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, err := w.dial(ctx, from, "tcp", to, farside.LinePort)
	if err != nil {
		return nil, err
	}
	return &Conn{c, bufio.NewReader(c)}, nil
}

// Ask asks over the connection; the answer is what the service saw when the connection was opened.
func (c *Conn) Ask(timeout time.Duration) (Answer, error) {
	var a Answer
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return a, err
	}
	if _, err := c.Write([]byte("?\n")); err != nil {
		return a, err
	}
	line, err := c.lines.ReadBytes('\n')
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(line, &a)
}

// Eventually asks a question every few milliseconds until it is answered without an error, or the context ends.
func Eventually(ctx context.Context, question func() error) error {
	for {
		err := question()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
