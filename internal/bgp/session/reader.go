package session

import (
	"errors"
	"slices"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// inbound is what a reader hands to the owner: one of a message, a batch of UPDATEs, or an end.
type inbound struct {
	id       fsm.ConnID
	msg      message.Message
	updates  int // UPDATEs in the batch
	result   message.Result
	endOfRIB route.Family
	bad      *message.NotificationError
	err      error
	halted   bool   // nothing more is read before the halt is over
	rest     []byte // with halted: the beginning of a message
}

// readSize is what is read at once: what comes of it is one event, a few thousand routes, which the rest of the daemon
// takes in about a millisecond. Larger ones save nothing, and what waits of them behind one another is memory.
const readSize = 32 << 10

// readBuffer holds the longest message and another read.
const readBuffer = 65536 + readSize

// reader reads one connection.
type reader struct {
	c       *conn
	to      chan<- inbound
	decoder *message.Decoder
	long    bool // extended messages
	batch   inbound
}

// read is the reader of a connection without a session.
func (c *conn) read(to chan<- inbound) { (&reader{c: c, to: to}).run(nil) }

// readOn is the reader of a connection on which a session stands already, and the beginning of a message was read.
func (c *conn) readOn(to chan<- inbound, n *fsm.Negotiated, begun []byte) {
	(&reader{c: c, to: to, decoder: message.NewDecoder(n.Options), long: n.Extended}).run(begun)
}

// run hands over what comes until the connection ends. When the owner has lost interest, it throws away what comes.
func (r *reader) run(begun []byte) {
	c := r.c
	defer close(c.readDone)
	buf := make([]byte, readBuffer)
	have := copy(buf, begun)
	for {
		n, err := c.nc.Read(buf[have : have+readSize])
		if n > 0 {
			c.lastRead.Store(time.Now().UnixNano())
		}
		have += n
		used, ok := r.messages(buf[:have])
		if ok && timedOut(err) { // nobody sets a limit for reading but a halt
			have = copy(buf, buf[used:have])
			if !r.halt(buf[:have]) {
				break
			}
			continue
		}
		if ok && err != nil {
			ok = r.post(inbound{id: c.id, err: err}) && false
		}
		if !ok {
			break
		}
		have = copy(buf, buf[used:have])
	}
	for {
		if _, err := c.nc.Read(buf); err != nil {
			return
		}
	}
}

// halt stands still while a halt lasts. It reports false when there is no going on.
func (r *reader) halt(rest []byte) bool {
	h := r.c.halted.Load()
	if h == nil {
		return true
	}
	if !r.post(inbound{id: r.c.id, halted: true, rest: slices.Clone(rest)}) {
		return false
	}
	select {
	case <-h.over:
		return true
	case <-r.c.gone:
		return false
	}
}

// messages hands over all whole messages of b and returns their length. It reports false when there is no going on.
func (r *reader) messages(b []byte) (used int, ok bool) {
	for len(b)-used >= message.HeaderLen {
		t, n, err := message.ParseHeader(b[used:], r.long)
		if err != nil {
			return used, r.malformed(err)
		}
		if len(b)-used < n {
			break
		}
		body := b[used+message.HeaderLen : used+n]
		used += n
		if t == message.TypeUpdate {
			ok = r.update(body)
		} else {
			ok = r.flush() && r.message(t, body)
		}
		if !ok {
			return used, false
		}
	}
	return used, r.flush()
}

func (r *reader) update(body []byte) bool {
	r.batch.updates++
	if r.decoder == nil {
		return r.flush() // too early; the state machine says what that means
	}
	eor, err := r.decoder.Decode(body, &r.batch.result)
	if err != nil {
		return r.malformed(err)
	}
	if eor != 0 {
		r.batch.endOfRIB = eor
		return r.flush()
	}
	return true
}

func (r *reader) message(t message.Type, body []byte) bool {
	m, err := message.Parse(t, body)
	if err != nil {
		return r.malformed(err)
	}
	if !r.post(inbound{id: r.c.id, msg: m}) {
		return false
	}
	if t != message.TypeOpen || r.decoder != nil {
		return true
	}
	// How to read what follows is for the state machine to say.
	select {
	case n := <-r.c.agreed:
		r.decoder, r.long = message.NewDecoder(n.Options), n.Extended
		return true
	case <-r.c.gone:
		return false
	}
}

// flush hands over the batch, if there is one.
func (r *reader) flush() bool {
	if r.batch.updates == 0 {
		return true
	}
	b := r.batch
	b.id, r.batch = r.c.id, inbound{}
	if n := len(b.result.Updates); n > 1 {
		r.batch.result.Updates = make([]route.Update, 0, n) // a table comes in reads of one size
	}
	return r.post(b)
}

func (r *reader) malformed(err error) bool {
	r.flush()
	var bad *message.NotificationError
	if errors.As(err, &bad) {
		r.post(inbound{id: r.c.id, bad: bad})
	}
	return false
}

func (r *reader) post(i inbound) bool {
	select {
	case r.to <- i:
		return true
	case <-r.c.gone:
		return false
	}
}
