package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

// maxPause is the longest time between two attempts to open the socket again. Lost is sent at every attempt, so that a
// caller who reads everything at Lost is never blind for longer.
const maxPause = time.Second

// Watch calls fn for every change until ctx ends, and returns nil then. It returns for no other reason: when the socket
// fails, or events came faster than fn took them, it opens the socket again and sends Lost. What this handle
// itself changes in routes and nexthops is left out. fn is called by this goroutine; nothing is read meanwhile.
func (h *Handle) Watch(ctx context.Context, fn func(Event)) error {
	var lost error
	for pause := time.Millisecond; ; pause = min(2*pause, maxPause) {
		start := time.Now()
		err := h.watchOnce(ctx, lost, fn)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(start) > maxPause {
			pause = time.Millisecond
		}
		lost = err
		fn(Event{Kind: Lost, Err: err})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// watchOnce listens on one socket until it fails.
func (h *Handle) watchOnce(ctx context.Context, lost error, fn func(Event)) error {
	s, err := dial(h.ns, unix.NETLINK_ROUTE, 0)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer s.close()
	filter, err := eventFilter(h.port)
	if err != nil {
		return fmt.Errorf("watch: build filter: %w", err)
	}
	if err := s.conn.SetBPF(filter); err != nil {
		return fmt.Errorf("watch: set filter: %w", err)
	}
	if err := s.join(
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_NEIGH,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP,
	); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if err := h.watchBy(s); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer h.watchBy(nil)
	// A deadline in the past wakes the reader below.
	defer context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })()
	fn(Event{Kind: Lost, Err: lost})
	for {
		b, err := s.receive()
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		for m, payload := range messages(b) {
			if e, ok := parseEvent(m.typ, payload); ok {
				fn(e)
			}
		}
	}
}

var routeGroups = []uint32{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE}

func (s *socket) join(groups ...uint32) error {
	for _, g := range groups {
		if err := s.conn.JoinGroup(g); err != nil {
			return fmt.Errorf("join group %d: %w", g, err)
		}
	}
	return nil
}

// watchBy makes s the socket that hears of routes, unless nobody is to.
func (h *Handle) watchBy(s *socket) error {
	h.hears.Lock()
	defer h.hears.Unlock()
	h.watcher = s
	if s == nil || h.deaf {
		return nil
	}
	return s.join(routeGroups...)
}

// HearRoutes has Watch tell what others do to our routes, or not until it is called again: the kernel hands each route that is written
// to everybody who listens to routes, and throws ours away only then, which costs a table some 6 % of its time. What was done
// meanwhile is not told later. Before the first call Watch tells.
func (h *Handle) HearRoutes(hear bool) error {
	h.hears.Lock()
	defer h.hears.Unlock()
	if h.deaf == !hear {
		return nil
	}
	h.deaf = !hear
	if h.watcher == nil {
		return nil
	}
	if hear {
		if err := h.watcher.join(routeGroups...); err != nil {
			// Watch opens another one, and that hears.
			return errors.Join(fmt.Errorf("hear of routes: %w", err), h.watcher.conn.SetReadDeadline(time.Unix(1, 0)))
		}
		return nil
	}
	for _, g := range routeGroups {
		if err := h.watcher.conn.LeaveGroup(g); err != nil {
			return fmt.Errorf("leave group %d: %w", g, err)
		}
	}
	return nil
}

// eventFilter drops, in the kernel, route and nexthop messages that our own writes cause (a full table would make a
// million of them) and routes of other protocols (the next daemon's full table).
func eventFilter(port uint32) ([]bpf.RawInstruction, error) {
	// BPF loads big endian, netlink is in the machine's order.
	half := func(v uint16) uint32 { return uint32(binary.BigEndian.Uint16(native.AppendUint16(nil, v))) }
	word := func(v uint32) uint32 { return binary.BigEndian.Uint32(native.AppendUint32(nil, v)) }
	const typeAt, pidAt, protocolAt = 4, 12, headerLen + 5
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: typeAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: half(unix.RTM_NEWROUTE), SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: half(unix.RTM_DELROUTE), SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: half(unix.RTM_NEWNEXTHOP), SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: half(unix.RTM_DELNEXTHOP), SkipTrue: 3},
		bpf.RetConstant{Val: 1 << 18},
		// routes
		bpf.LoadAbsolute{Off: protocolAt, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: kstate.Protocol, SkipTrue: 2},
		// routes of ours, and nexthops
		bpf.LoadAbsolute{Off: pidAt, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: word(port), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 18},
	})
}
