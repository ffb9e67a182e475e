// Package speaker is the far side of a BGP session: it shakes hands, says what was prepared, and takes what comes.
package speaker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"bothways/internal/lab/netns"
)

// Config says who speaks with whom. The session's family is that of the addresses.
type Config struct {
	Space         *netns.Namespace
	Local, Remote netip.Addr
	AS, RemoteAS  uint32
	RouterID      netip.Addr
	// Enhanced: what is said again begins and ends with a mark (RFC 7313).
	Enhanced bool
}

// Session is an established session.
type Session struct {
	conn *net.TCPConn
	mu   sync.Mutex // one writer at a time: the keepalives must not fall into an UPDATE
	gone chan struct{}
	err  error // why it ended; read once gone is closed

	marks  bool
	repeat chan []byte // room for one: what is said again, when the router asks for it
	said   chan error  // of each repetition
}

// holdTime is what the speaker proposes, in seconds; it sends a keepalive every keepalive.
const (
	holdTime  = 240
	keepalive = 5 * time.Second
)

// Connect dials the router again and again until a session stands.
func Connect(ctx context.Context, c Config) (*Session, error) {
	var last error
	for {
		s, err := try(ctx, c)
		if err == nil {
			return s, nil
		}
		last = err
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("session with %s: %w", c.Remote, errors.Join(last, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func try(ctx context.Context, c Config) (*Session, error) {
	var conn net.Conn
	err := c.Space.Do(func() error {
		d := net.Dialer{Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.Local, 0))}
		var err error
		// To an address without a fallback the dialer makes its socket on this thread, which is in the namespace.
		conn, err = d.DialContext(ctx, "tcp", netip.AddrPortFrom(c.Remote, 179).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	s := &Session{conn: conn.(*net.TCPConn), gone: make(chan struct{}), marks: c.Enhanced, repeat: make(chan []byte, 1), said: make(chan error, 1)}
	if err := s.handshake(c); err != nil {
		conn.Close()
		return nil, err
	}
	go s.read()
	go s.keepAlive()
	return s, nil
}

func (s *Session) handshake(c Config) error {
	if err := s.conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := s.conn.Write(open(c)); err != nil {
		return err
	}
	for _, want := range []byte{1, 4} { // OPEN, KEEPALIVE
		kind, body, err := message(s.conn)
		if err != nil {
			return err
		}
		if kind != want {
			return fmt.Errorf("message of type %d with %x, want %d", kind, body, want)
		}
		if kind == 1 {
			if _, err := s.conn.Write(header(nil, 0, 4)); err != nil {
				return err
			}
		}
	}
	return s.conn.SetDeadline(time.Time{})
}

// open is the OPEN with multiprotocol, route refresh and four-octet AS numbers (RFC 4271, 4760, 2918, 6793).
func open(c Config) []byte {
	afi := byte(1)
	if c.Local.Is6() {
		afi = 2
	}
	capabilities := []byte{1, 4, 0, afi, 0, 1, 2, 0, 65, 4}
	capabilities = binary.BigEndian.AppendUint32(capabilities, c.AS)
	if c.Enhanced {
		capabilities = append(capabilities, 70, 0)
	}
	as := uint16(23456)
	if c.AS < 1<<16 {
		as = uint16(c.AS)
	}
	body := binary.BigEndian.AppendUint16([]byte{4}, as)
	body = binary.BigEndian.AppendUint16(body, holdTime)
	body = append(body, c.RouterID.AsSlice()...)
	body = append(body, byte(2+len(capabilities)), 2, byte(len(capabilities)))
	body = append(body, capabilities...)
	return append(header(nil, len(body), 1), body...)
}

func header(out []byte, body int, kind byte) []byte {
	for range 16 {
		out = append(out, 0xff)
	}
	return append(binary.BigEndian.AppendUint16(out, uint16(19+body)), kind)
}

func message(r io.Reader) (kind byte, body []byte, err error) {
	head := make([]byte, 19)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint16(head[16:]))
	if n < 19 {
		return 0, nil, fmt.Errorf("message of %d bytes", n)
	}
	body = make([]byte, n-19)
	_, err = io.ReadFull(r, body)
	return head[18], body, err
}

// Repeat has the session say this when the router next asks for everything again (RFC 2918); what is returned tells when
// that is said.
func (s *Session) Repeat(b []byte) <-chan error {
	s.repeat <- b
	return s.said
}

// refreshed answers a ROUTE-REFRESH, whose body it is.
func (s *Session) refreshed(body []byte) {
	if len(body) != 4 || body[2] != 0 {
		return
	}
	select {
	case b := <-s.repeat:
		go func() {
			if s.marks {
				b = append(s.mark(body, 1), append(b, s.mark(body, 2)...)...)
			}
			s.said <- s.Send(b)
		}()
	default: // nobody prepared anything
	}
}

// mark is the ROUTE-REFRESH that stands before (1) or behind (2) a repetition.
func (s *Session) mark(body []byte, subtype byte) []byte {
	return append(header(nil, 4, 5), body[0], body[1], subtype, body[3])
}

// read takes what comes, and remembers a NOTIFICATION.
func (s *Session) read() {
	defer close(s.gone)
	for {
		kind, body, err := message(s.conn)
		if err == nil && kind == 5 {
			s.refreshed(body)
		}
		if err == nil && kind == 3 {
			err = fmt.Errorf("notification %x", body)
		}
		if err != nil {
			s.err = err
			s.conn.Close()
			return
		}
	}
}

func (s *Session) keepAlive() {
	tick := time.NewTicker(keepalive)
	defer tick.Stop()
	for {
		select {
		case <-s.gone:
			return
		case <-tick.C:
			// A failure is the reader's to tell.
			_ = s.Send(header(nil, 0, 4))
		}
	}
}

// Send writes whole messages. It returns when the router's side has taken them into its socket, or the session ended.
func (s *Session) Send(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.conn.Write(b); err != nil {
		select {
		case <-s.gone:
			return errors.Join(err, s.err)
		case <-time.After(time.Second):
			return err
		}
	}
	return nil
}

// Gone is closed when the session has ended; Err says why.
func (s *Session) Gone() <-chan struct{} { return s.gone }

// Err is why the session ended, nil while it stands.
func (s *Session) Err() error {
	select {
	case <-s.gone:
		return s.err
	default:
		return nil
	}
}

// Close drops the session without a word, as a process that ends does.
func (s *Session) Close() { s.conn.Close() }
