package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

const ndmsgLen = unix.SizeofNdMsg // family, three of padding, ifindex, state, flags, type

// struct nda_cacheinfo: how long ago it was confirmed, used and updated, and a count of references. Times are in the kernel's
// user-visible ticks, which are a hundredth of a second on every architecture.
const (
	cacheInfoLen = 16
	clockTick    = 10 * time.Millisecond
)

// parseNeighbor reads RTM_NEWNEIGH or RTM_DELNEIGH; ok is false for other tables than ARP's and ND's.
func parseNeighbor(b []byte) (n kstate.Neighbor, nud uint16, ok bool, err error) {
	if len(b) < ndmsgLen {
		return n, 0, false, errShort
	}
	n.Interface = int(native.Uint32(b[4:]))
	nud = native.Uint16(b[8:])
	n.State, n.Confirmed = neighborState(nud), -1
	for typ, v := range attributes(b, ndmsgLen) {
		switch typ {
		case unix.NDA_DST:
			n.Address = address(v)
		case unix.NDA_CACHEINFO:
			if len(v) >= cacheInfoLen {
				n.Confirmed = time.Duration(native.Uint32(v)) * clockTick
			}
		}
	}
	proxy := b[10]&unix.NTF_PROXY != 0
	return n, nud, familyOf(b[0]) != 0 && !proxy && n.Address.IsValid(), nil
}

func neighborState(nud uint16) kstate.NeighborState {
	switch {
	case nud&(unix.NUD_REACHABLE|unix.NUD_PERMANENT|unix.NUD_NOARP) != 0:
		return kstate.NeighborReachable
	case nud&(unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE) != 0:
		return kstate.NeighborStale
	case nud&unix.NUD_FAILED != 0:
		return kstate.NeighborFailed
	}
	return kstate.NeighborUnknown
}

func neighborMessage(ifindex int, addr netip.Addr, nud uint16, flags byte) []byte {
	b := make([]byte, ndmsgLen)
	b[0] = familyNumber(route.FamilyOf(addr))
	native.PutUint32(b[4:], uint32(ifindex))
	native.PutUint16(b[8:], nud)
	b[10] = flags
	return b
}

// Neighbor returns the kernel's entry for a neighbor; one that it has no entry for is NeighborUnknown.
func (h *Handle) Neighbor(ifindex int, addr netip.Addr) (kstate.Neighbor, error) {
	n, _, err := h.neighbor(ifindex, addr)
	return n, err
}

func (h *Handle) neighbor(ifindex int, addr netip.Addr) (kstate.Neighbor, uint16, error) {
	n, nud := kstate.Neighbor{Interface: ifindex, Address: addr, Confirmed: -1}, uint16(0)
	err := h.ask(unix.RTM_GETNEIGH, 0, neighborMessage(ifindex, addr.WithZone(""), 0, 0), func(w *writer) { w.addr(unix.NDA_DST, addr) }, func(b []byte) {
		if got, state, ok, err := parseNeighbor(b); err == nil && ok {
			n.State, n.Confirmed, nud = got.State, got.Confirmed, state
		}
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return n, 0, fmt.Errorf("neighbor %s on interface %d: %w", addr, ifindex, err)
	}
	return n, nud, nil
}

// ProbeNeighbor makes the kernel ask for a neighbor, if it is not doing so already. The answer shows in Neighbor and
// in an event: NeighborReachable, or NeighborFailed after the kernel's own count of attempts (with the defaults 3 s:
// net.ipv4.neigh.IF.ucast_solicit times retrans_time_ms).
//
// A neighbor whose MAC address is known is asked directly, and traffic to it goes on meanwhile. One that is not
// known, or did not answer, is asked by broadcast or multicast; while it is, its state is NeighborUnknown.
func (h *Handle) ProbeNeighbor(ifindex int, addr netip.Addr) error {
	_, nud, err := h.neighbor(ifindex, addr)
	if err != nil {
		return err
	}
	dst := func(w *writer) { w.addr(unix.NDA_DST, addr) }
	nothing := func([]byte) {}
	switch {
	case nud&(unix.NUD_PERMANENT|unix.NUD_NOARP|unix.NUD_PROBE|unix.NUD_INCOMPLETE) != 0:
		return nil
	case nud&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY) != 0:
		// Without an address the kernel keeps the one that it knows; with NLM_F_REPLACE it takes the state. EINVAL: the
		// entry failed since it was read.
		err = h.ask(unix.RTM_NEWNEIGH, unix.NLM_F_REPLACE, neighborMessage(ifindex, addr, unix.NUD_PROBE, 0), dst, nothing)
		if err == nil || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			break
		}
		fallthrough
	default:
		err = h.ask(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE, neighborMessage(ifindex, addr, 0, unix.NTF_USE), dst, nothing)
	}
	if err != nil {
		return fmt.Errorf("ask for neighbor %s on interface %d: %w", addr, ifindex, err)
	}
	return nil
}
