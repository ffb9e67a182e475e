package rtnl

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"bothways/internal/kernel/namespace"
)

// Handle speaks rtnetlink in one network namespace. It is safe for concurrent use.
type Handle struct {
	ns int // file descriptor of the namespace

	// writes guards writer, so that the answers to one batch are not read by the sender of another.
	writes sync.Mutex
	writer *socket
	port   uint32 // of writer, also after it was opened again: Watch leaves out what comes from it

	// asks guards asker, for the same reason. It is another socket because Poke must not wait for a batch.
	asks  sync.Mutex
	asker *socket

	// hears guards what follows: Watch opens its socket while HearRoutes changes what that hears.
	hears   sync.Mutex
	watcher *socket // nil: Watch does not listen
	deaf    bool    // to routes
}

// Open opens sockets in the network namespace of the calling thread.
func Open() (*Handle, error) {
	ns, err := namespace.Open()
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	h := &Handle{ns: ns}
	if h.writer, err = dial(h.ns, unix.NETLINK_ROUTE, 0); err == nil {
		h.port = h.writer.conn.PID()
		h.asker, err = dial(h.ns, unix.NETLINK_ROUTE, 0)
	}
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	return h, nil
}

// Close closes the sockets. Watch and other calls under way must have ended before.
func (h *Handle) Close() error {
	var err error
	for _, s := range []*socket{h.writer, h.asker} {
		if s != nil {
			err = errors.Join(err, s.close())
		}
	}
	return errors.Join(err, unix.Close(h.ns))
}

// ask sends one message on the asker and gives the answer to fn. A socket that failed is opened again for the next.
func (h *Handle) ask(typ, flags uint16, fixed []byte, attrs func(*writer), fn func(payload []byte)) error {
	h.asks.Lock()
	defer h.asks.Unlock()
	s := h.asker
	s.w.reset()
	s.w.begin(typ, flags|unix.NLM_F_ACK, s.nextSeq(), fixed...)
	if attrs != nil {
		attrs(&s.w)
	}
	s.w.end()
	err := s.ask(func(_ uint16, payload []byte) { fn(payload) })
	var refused *Error
	if err != nil && !errors.As(err, &refused) {
		if fresh, derr := dial(h.ns, unix.NETLINK_ROUTE, 0); derr == nil {
			s.close()
			h.asker = fresh
		}
	}
	return err
}
