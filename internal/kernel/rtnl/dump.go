package rtnl

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// maxDumps is how often a dump is tried while the state changes under it.
const maxDumps = 10

// dump asks for all objects of one kind on a socket of its own, so that one given up half-way leaves nothing behind.
// build writes the request; fn gets each message and must not keep the payload. An error of fn ends the dump.
func (h *Handle) dump(ctx context.Context, typ uint16, fixed []byte, attrs func(*writer), fn func(payload []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := dial(h.ns, unix.NETLINK_ROUTE, 0)
	if err != nil {
		return err
	}
	defer s.close()
	s.w.begin(typ, unix.NLM_F_DUMP, s.nextSeq(), fixed...)
	if attrs != nil {
		attrs(&s.w)
	}
	s.w.end()
	if err := s.send(); err != nil {
		return err
	}
	interrupted := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := s.receive()
		if err != nil {
			return err
		}
		for m, payload := range messages(b) {
			if m.seq != s.seq {
				continue
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			switch m.typ {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				err := parseError(m.flags, payload, m.typ == unix.NLMSG_DONE)
				if err == nil && interrupted {
					err = ErrInterrupted
				}
				return err
			default:
				if err := fn(payload); err != nil {
					return err
				}
			}
		}
	}
}

// consistent calls read until what it read is one state. read begins anew at every call.
func consistent(read func() error) error {
	err := read()
	for i := 1; i < maxDumps && errors.Is(err, ErrInterrupted); i++ {
		err = read()
	}
	return err
}
