package rtnl

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

// batchMessages is how many changes go into one sendmsg. Measured: 32 cost 10 % more a route, 4000 save 3 %, and the
// kernel holds the rtnetlink lock for no longer than one message at a time anyway.
const batchMessages = 500

// Apply makes the changes in their order and returns those that the kernel refused, in the same order. A put that
// finds its object and a deletion that finds none succeed. Later changes are tried after a failure. Where ctx ends,
// the rest is returned with its error.
func (h *Handle) Apply(ctx context.Context, changes []kstate.Change) []kstate.Failure {
	h.writes.Lock()
	defer h.writes.Unlock()
	var failures []kstate.Failure
	for len(changes) > 0 {
		batch := changes[:min(batchMessages, len(changes))]
		changes = changes[len(batch):]
		if err := ctx.Err(); err != nil {
			failures = append(failures, failAll(batch, err)...)
			continue
		}
		failures = append(failures, h.applyBatch(batch)...)
	}
	return failures
}

func failAll(batch []kstate.Change, err error) []kstate.Failure {
	failures := make([]kstate.Failure, len(batch))
	for i, c := range batch {
		failures[i] = kstate.Failure{Change: c, Err: fmt.Errorf("%s: %w", c, err)}
	}
	return failures
}

// applyBatch sends one batch. Only its last message asks for an acknowledgement; the kernel answers a refused message
// without being asked, and in order, so when the last one is answered all are.
func (h *Handle) applyBatch(batch []kstate.Change) []kstate.Failure {
	s := h.writer
	s.w.reset()
	first := s.seq + 1
	refused := make([]error, len(batch)) // by place in the batch
	sent := uint32(0)                    // the last sequence number that was sent
	for i := range batch {
		seq := s.nextSeq()
		mark := len(s.w.b)
		if err := write(&s.w, &batch[i], seq); err != nil {
			s.w.b = s.w.b[:mark]
			refused[i] = err
			continue
		}
		sent = seq
	}
	if sent != 0 {
		s.w.ack()
		if err := h.exchange(first, sent, refused); err != nil {
			// What became of the batch is not known. All of it is safe to try again.
			h.reopenWriter()
			return failAll(batch, err)
		}
	}
	var failures []kstate.Failure
	for i, err := range refused {
		if err != nil && !harmless(batch[i], err) {
			failures = append(failures, kstate.Failure{Change: batch[i], Err: fmt.Errorf("%s: %w", batch[i], err)})
		}
	}
	return failures
}

// exchange sends the batch and stores what was refused until last is answered.
func (h *Handle) exchange(first, last uint32, refused []error) error {
	s := h.writer
	if err := s.send(); err != nil {
		return err
	}
	for {
		b, err := s.receive()
		if err != nil {
			return err
		}
		for m, payload := range messages(b) {
			i := int(m.seq - first)
			if m.typ != unix.NLMSG_ERROR || i < 0 || i >= len(refused) {
				continue
			}
			refused[i] = parseError(m.flags, payload, false)
			if m.seq == last {
				return nil
			}
		}
	}
}

func (h *Handle) reopenWriter() {
	// The port must be free before it is taken again. Where that fails, the next batch fails on the closed socket,
	// and tries again.
	h.writer.close()
	if s, err := dial(h.ns, unix.NETLINK_ROUTE, h.port); err == nil {
		h.writer = s
	}
}

func write(w *writer, c *kstate.Change, seq uint32) error {
	put := c.Verb == kstate.Put
	switch {
	case c.Nexthop != nil:
		if !c.Nexthop.ID.Ours() {
			return errors.New("id is not ours")
		}
		if put {
			return putNexthop(w, c.Nexthop, seq)
		}
		deleteNexthop(w, c.Nexthop.ID, seq)
		return nil
	case c.Route != nil:
		if !c.Route.Prefix.IsValid() || c.Route.Prefix != c.Route.Prefix.Masked() {
			return errors.New("prefix is not masked")
		}
		if c.Route.Table < kstate.Table {
			return errors.New("table is not ours")
		}
		if put {
			return putRoute(w, c.Route, seq)
		}
		return deleteRoute(w, c.Route, seq)
	case c.Rule != nil:
		if c.Rule.Priority < kstate.PriorityLink || c.Rule.Priority > kstate.PriorityLast {
			return errors.New("priority is not ours")
		}
		if put {
			writeRule(w, c.Rule, unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq)
		} else {
			writeRule(w, c.Rule, unix.RTM_DELRULE, 0, seq)
		}
		return nil
	}
	return errors.New("change without an object")
}

// harmless reports whether the refusal says that the object is already as wanted.
func harmless(c kstate.Change, err error) bool {
	if c.Verb == kstate.Put {
		return c.Rule != nil && errors.Is(err, unix.EEXIST)
	}
	// ENOENT for nexthops and rules; ESRCH for routes, also where the table itself is gone.
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}
