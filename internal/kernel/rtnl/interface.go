package rtnl

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

const (
	ifinfoLen = unix.SizeofIfInfomsg
	ifaddrLen = unix.SizeofIfAddrmsg

	// skipStats leaves the counters out of the answer (RTEXT_FILTER_SKIP_STATS), which x/sys lacks.
	skipStats = 1 << 3
)

// parseLink reads RTM_NEWLINK or RTM_DELLINK. ok is false for what is no link event: a bridge tells of its ports in
// messages of the same type, whose flags are not the interface's.
func parseLink(b []byte) (i kstate.Interface, ok bool, err error) {
	if len(b) < ifinfoLen {
		return i, false, errShort
	}
	i.Index = int(native.Uint32(b[4:]))
	flags := native.Uint32(b[8:])
	i.AdminUp = flags&unix.IFF_UP != 0
	i.Carrier = flags&unix.IFF_LOWER_UP != 0
	for typ, v := range attributes(b, ifinfoLen) {
		switch typ {
		case unix.IFLA_IFNAME:
			i.Name = cstring(v)
		case unix.IFLA_MTU:
			i.MTU = int(number(v))
		}
	}
	return i, b[0] == unix.AF_UNSPEC, nil
}

// parseAddress reads RTM_NEWADDR or RTM_DELADDR; usable is false while IPv6 has not made sure that nobody else has the
// address, when it cannot be bound to.
func parseAddress(b []byte) (index int, prefix netip.Prefix, usable bool, err error) {
	if len(b) < ifaddrLen {
		return 0, prefix, false, errShort
	}
	flags := uint32(b[2])
	var local, other netip.Addr
	for typ, v := range attributes(b, ifaddrLen) {
		switch typ {
		case unix.IFA_LOCAL:
			local = address(v)
		case unix.IFA_ADDRESS: // the other end, on a point-to-point interface
			other = address(v)
		case unix.IFA_FLAGS:
			flags = number(v)
		}
	}
	if !local.IsValid() {
		local = other
	}
	tentative := flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	return int(native.Uint32(b[4:])), netip.PrefixFrom(local, int(b[1])), !tentative && flags&unix.IFA_F_DADFAILED == 0, nil
}

// Interfaces returns all interfaces with their usable addresses, by index.
func (h *Handle) Interfaces(ctx context.Context) ([]kstate.Interface, error) {
	var all []kstate.Interface
	err := consistent(func() error {
		all = all[:0]
		return h.dump(ctx, unix.RTM_GETLINK, make([]byte, ifinfoLen), func(w *writer) { w.u32(unix.IFLA_EXT_MASK, skipStats) }, func(b []byte) error {
			i, ok, err := parseLink(b)
			if ok {
				all = append(all, i)
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read interfaces: %w", err)
	}
	slices.SortFunc(all, func(a, b kstate.Interface) int { return cmp.Compare(a.Index, b.Index) })
	err = consistent(func() error {
		for i := range all {
			all[i].Addresses = nil
		}
		return h.dump(ctx, unix.RTM_GETADDR, make([]byte, ifaddrLen), nil, func(b []byte) error {
			index, prefix, usable, err := parseAddress(b)
			i, found := slices.BinarySearchFunc(all, index, func(i kstate.Interface, index int) int { return cmp.Compare(i.Index, index) })
			if found && usable && prefix.IsValid() {
				all[i].Addresses = append(all[i].Addresses, prefix)
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	return all, nil
}

// Poke asks the kernel for one interface and returns its carrier. Asking has a side effect that is wanted: the kernel
// handles link events that it had put off. It may hold them back for a second; asked every
// 10 ms it acts within 11 ms. An interface that is gone gives unix.ENODEV.
func (h *Handle) Poke(ifindex int) (carrier bool, err error) {
	var fixed [ifinfoLen]byte
	native.PutUint32(fixed[4:], uint32(ifindex))
	err = h.ask(unix.RTM_GETLINK, 0, fixed[:], func(w *writer) { w.u32(unix.IFLA_EXT_MASK, skipStats) }, func(b []byte) {
		if len(b) >= ifinfoLen {
			carrier = native.Uint32(b[8:])&unix.IFF_LOWER_UP != 0
		}
	})
	if err != nil {
		return false, fmt.Errorf("interface %d: %w", ifindex, err)
	}
	return carrier, nil
}
