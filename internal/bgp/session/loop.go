package session

import (
	"context"
	"net"
	"sync"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// loop is the owner's goroutine and all that it owns.
type loop struct {
	*Session
	state   fsm.State
	status  Status
	conns   map[fsm.ConnID]*conn
	lastID  fsm.ConnID
	inbound chan inbound
	written chan written
	workers sync.WaitGroup // readers, writers and the dialer

	dialed     chan dialed
	dialCancel context.CancelFunc // of the dial under way, or nil
	dialSerial int

	up      *conn // the session that stands, or nil
	end     ending
	agreed  *fsm.Negotiated
	encoder *message.Encoder
	rib     ribOut
	telling int // prefixes in what is being written

	queue    []Event // for the Sink
	toSink   chan Event
	ending   bool   // Run is to return when all is said
	lastFail string // logged once
}

// dialed is the answer to a dial.
type dialed struct {
	serial int
	nc     net.Conn
	err    error
}

func newLoop(s *Session) *loop {
	return &loop{
		Session: s, state: fsm.New(s.cfg.Params), status: *s.status.Load(),
		conns: map[fsm.ConnID]*conn{}, inbound: make(chan inbound), written: make(chan written),
		dialed: make(chan dialed), rib: newRIBOut(s.cfg.HoldEndOfRIB), toSink: make(chan Event),
	}
}

func (l *loop) run(ctx context.Context, t *taken) {
	sinkDone := make(chan struct{})
	go func() {
		defer close(sinkDone)
		for e := range l.toSink {
			l.sink.Handle(ctx, e)
		}
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()

	if t != nil {
		l.goOn(t)
	} else {
		l.handle(ctx, fsm.Start{})
	}
	for !l.ending || len(l.queue) > 0 {
		l.flush()
		l.publish()
		if next := l.state.Next(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		if !l.turn(ctx, timer.C) {
			break
		}
	}
	l.cancelDial()
	for id, c := range l.conns {
		c.close(nil)
		delete(l.conns, id)
	}
	l.publish()
	l.workers.Wait()
	close(l.toSink)
	<-sinkDone
}

// turn waits for one thing and handles it. It reports false when ctx is done.
func (l *loop) turn(ctx context.Context, tick <-chan time.Time) bool {
	var sink chan<- Event
	var first Event
	if len(l.queue) > 0 {
		sink, first = l.toSink, l.queue[0]
	}
	in := l.inbound
	if l.behind() {
		in = nil
	}
	select {
	case <-ctx.Done():
		return false
	case sink <- first:
		l.queue[0] = nil
		l.queue = l.queue[1:]
	case <-l.wake:
		for _, c := range l.takeCommands() {
			l.command(ctx, c)
		}
		return ctx.Err() == nil // as after a freeze, when nothing more may be written
	case i := <-in:
		l.receive(ctx, i)
	case w := <-l.written:
		l.wrote(ctx, w)
	case d := <-l.dialed:
		l.connected(ctx, d)
	case <-tick:
		l.heard(ctx)
		l.handle(ctx, fsm.Tick{})
	}
	return true
}

// behind reports whether the Sink has to catch up before more is read.
func (l *loop) behind() bool { return len(l.queue) >= queueLimit }

// heard keeps the hold timer from expiring because of us: what the neighbor sent may lie unread, in the reader or in
// the kernel, when the machine was busy or the process did not run.
func (l *loop) heard(ctx context.Context) {
	if l.up == nil {
		return
	}
	at := time.Unix(0, l.up.lastRead.Load())
	if l.behind() || unread(l.up.nc) {
		at = time.Now()
	}
	l.handle(ctx, fsm.Alive{Conn: l.up.id, At: at})
}

func (l *loop) command(ctx context.Context, c command) {
	switch c := c.(type) {
	case announce:
		for _, f := range route.Families() {
			l.rib.set(f, c.all[f])
		}
	case release:
		l.rib.holdEnd, l.rib.changed = false, true
	case refresh:
		if l.up != nil {
			l.send(l.up, &message.RouteRefresh{Family: c.family})
		}
	case retry:
		l.handle(ctx, fsm.Retry{})
	case resume:
		l.handle(ctx, fsm.Start{})
		l.handle(ctx, fsm.Retry{})
	case freeze:
		l.freeze(ctx, c)
	case accept:
		l.handle(ctx, fsm.Accepted{Conn: l.adopt(c.nc)})
	case stop:
		l.end.own = true
		l.handle(ctx, c.Stop)
		l.end.own = false
		l.ending = l.ending || c.final
	}
}

// adopt gives a connection its reader and writer.
func (l *loop) adopt(nc net.Conn) fsm.ConnID {
	l.lastID++
	c := newConn(l.lastID, nc)
	l.conns[c.id] = c
	l.workers.Go(func() { c.read(l.inbound) })
	l.workers.Go(func() { c.write(l.written) })
	return c.id
}

func (l *loop) connected(ctx context.Context, d dialed) {
	if d.serial != l.dialSerial || l.dialCancel == nil {
		if d.nc != nil {
			d.nc.Close()
		}
		return
	}
	l.cancelDial()
	if d.err != nil {
		l.handle(ctx, fsm.DialFailed{Err: d.err})
		return
	}
	l.handle(ctx, fsm.Dialed{Conn: l.adopt(d.nc)})
}

func (l *loop) wrote(ctx context.Context, w written) {
	c := l.conns[w.id]
	if c == nil {
		return
	}
	c.writing = false
	if len(w.rest) > 0 {
		c.out = append(w.rest, c.out...)
		return
	}
	if w.err == nil {
		if c == l.up && l.cfg.Keeper != nil {
			l.cfg.Keeper.Writing(false)
		}
		if c == l.up && l.telling > 0 {
			l.queue = append(l.queue, Announced{l.cfg.Name, w.at, l.telling})
			l.telling = 0
		}
		return
	}
	if timedOut(w.err) && c == l.up {
		l.handle(ctx, fsm.SendBlocked{Conn: c.id})
		return
	}
	l.closed(ctx, c.id, w.at, w.err)
}

// closed takes the end of a connection, found at a time.
func (l *loop) closed(ctx context.Context, id fsm.ConnID, at time.Time, err error) {
	l.end.ended, l.end.err = at, err
	l.handle(ctx, fsm.Closed{Conn: id, Err: err})
	l.end = ending{}
}

// receive takes what a reader handed over.
func (l *loop) receive(ctx context.Context, i inbound) {
	if l.conns[i.id] == nil {
		return // it was closed meanwhile
	}
	switch {
	case i.err != nil:
		l.closed(ctx, i.id, i.at, i.err)
	case i.bad != nil:
		l.counters.messagesIn.Add(1)
		l.handle(ctx, fsm.Malformed{Conn: i.id, Err: i.bad})
	case i.msg != nil:
		l.counters.messagesIn.Add(1)
		l.handle(ctx, fsm.Received{Conn: i.id, Msg: i.msg})
		if r, ok := i.msg.(*message.RouteRefresh); ok && l.up != nil && l.up.id == i.id {
			l.refreshed(r)
		}
	default:
		l.counters.messagesIn.Add(uint64(i.updates))
		l.counters.updatesIn.Add(uint64(i.updates))
		l.handle(ctx, fsm.Updated{Conn: i.id})
		if l.up != nil && l.up.id == i.id {
			l.updated(i)
		}
	}
}

// flush writes what waits: messages, and what the neighbor has not been told. The difference is made only when the
// writer has nothing left to do, so a neighbor that does not read costs no memory.
func (l *loop) flush() {
	if c := l.up; c != nil && !c.writing && len(c.out) == 0 {
		before, known := len(c.out), l.rib.all()
		var errs []error
		c.out, l.telling, errs = l.rib.pending(c.out, l.encoder, l.agreed.EnhancedRefresh)
		for _, err := range errs {
			l.log.Error("cannot announce", "error", err)
		}
		l.countOut(c.out[before:])
		if l.telling > 0 {
			l.keepChange(known)
		}
	}
	for _, c := range l.conns {
		if c == l.up && c.waits() && l.cfg.Keeper != nil {
			l.cfg.Keeper.Writing(true)
		}
		c.kick()
	}
}

// countOut counts the messages of b.
func (l *loop) countOut(b []byte) {
	for len(b) >= message.HeaderLen {
		l.counters.messagesOut.Add(1)
		if message.Type(b[18]) == message.TypeUpdate {
			l.counters.updatesOut.Add(1)
		}
		b = b[int(b[16])<<8|int(b[17]):]
	}
}

// send queues a message on a connection.
func (l *loop) send(c *conn, m message.Message) {
	if m.Type() == message.TypeKeepalive && len(c.out) > 0 {
		return // what waits already says as much
	}
	before := len(c.out)
	c.out = m.AppendTo(c.out)
	l.countOut(c.out[before:])
}
