package rtnl

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"bothways/internal/route"
)

// Lookup asks the kernel by which interface a packet of this machine to an address would leave, with all rules and without a
// mark. 0: by none, because nothing leads there or the packet would be dropped.
func (h *Handle) Lookup(a netip.Addr) (ifindex int, err error) {
	fixed := []byte{familyNumber(route.FamilyOf(a)), byte(a.BitLen()), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	err = h.ask(unix.RTM_GETROUTE, 0, fixed, func(w *writer) { w.addr(unix.RTA_DST, a) }, func(b []byte) {
		if r, err := parseRoute(b); err == nil && len(r.hops) > 0 {
			ifindex = r.hops[0].device
		}
	})
	var refused *Error
	if errors.As(err, &refused) && (errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EACCES)) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up the way to %s: %w", a, err)
	}
	return ifindex, nil
}
