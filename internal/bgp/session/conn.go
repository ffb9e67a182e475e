package session

import (
	"net"
	"sync/atomic"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
)

// conn is one connection with its reader and writer. The fields up to writing are the owner's.
type conn struct {
	id      fsm.ConnID
	out     []byte // whole messages that wait until the writer is free
	writing bool
	limit   time.Duration // for one write

	nc       net.Conn
	agreed   chan *fsm.Negotiated // to the reader, once, after the neighbor's OPEN
	gone     chan struct{}        // closed when the owner wants no more of it
	writes   chan outbound
	readDone chan struct{}
	lastRead atomic.Int64 // Unix nanoseconds
	halted   atomic.Pointer[halt]
}

// halt has the reader and the writer stand still. It is closed when they may go on.
type halt struct{ over chan struct{} }

// stop has them stand still as soon as may be: the reader says so, with what it has of a message; the writer answers what
// it has in hand.
func (c *conn) stop() *halt {
	h := &halt{make(chan struct{})}
	c.halted.Store(h)
	// In this order: who is told of a deadline finds the reason.
	c.nc.SetReadDeadline(time.Unix(1, 0))
	c.nc.SetWriteDeadline(time.Now().Add(freezeWrite))
	return h
}

// goOn is the contrary of stop.
func (c *conn) goOn(h *halt) {
	c.nc.SetReadDeadline(time.Time{})
	c.halted.Store(nil)
	close(h.over)
}

// outbound is a buffer to write. The last one is followed by the end of the connection.
type outbound struct {
	buf   []byte
	limit time.Duration
	last  bool
}

// written answers an outbound that was not the last.
type written struct {
	id   fsm.ConnID
	at   time.Time
	rest []byte // not written, because of a halt
	err  error
}

func newConn(id fsm.ConnID, nc net.Conn) *conn {
	return &conn{
		id: id, limit: openWrite, nc: nc,
		agreed: make(chan *fsm.Negotiated, 1), gone: make(chan struct{}),
		// One buffer in the writer's hands, and the last one, which must never have the owner wait.
		writes: make(chan outbound, 2), readDone: make(chan struct{}),
	}
}

// write is the writer: it writes what it is given and ends when there will be no more.
func (c *conn) write(done chan<- written) {
	broken := false
	for o := range c.writes {
		if broken {
			continue
		}
		c.nc.SetWriteDeadline(time.Now().Add(o.limit))
		if c.halted.Load() != nil {
			c.nc.SetWriteDeadline(time.Now().Add(freezeWrite))
		}
		n, err := c.nc.Write(o.buf)
		var rest []byte
		if timedOut(err) && !o.last && c.halted.Load() != nil {
			rest, err = o.buf[n:], nil
		}
		broken = err != nil
		if o.last && !broken {
			c.linger()
		}
		if !o.last {
			select {
			case done <- written{c.id, time.Now(), rest, err}:
			case <-c.gone:
			}
		}
	}
	c.nc.Close()
}

// linger lets the neighbor read what was written last, while the reader throws away what it still sends.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	half.CloseWrite()
	t := time.NewTimer(drainTime)
	defer t.Stop()
	select {
	case <-c.readDone:
	case <-t.C:
	}
}

// waits reports whether kick has something to do.
func (c *conn) waits() bool { return !c.writing && len(c.out) > 0 }

// kick hands waiting messages to the writer, if it is free.
func (c *conn) kick() {
	if !c.waits() {
		return
	}
	c.writes <- outbound{buf: c.out, limit: c.limit}
	c.out, c.writing = nil, true
}

// close ends the connection in the background. The owner forgets it at once.
func (c *conn) close(n *message.Notification) {
	close(c.gone)
	if n == nil {
		c.nc.Close()
	} else {
		// A write that hangs gets as long as the NOTIFICATION itself.
		c.nc.SetWriteDeadline(time.Now().Add(closeTime))
		c.writes <- outbound{buf: n.AppendTo(c.out), limit: closeTime, last: true}
	}
	close(c.writes)
}
