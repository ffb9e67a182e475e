package rtnl

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

const (
	nhmsgLen    = 8 // struct nhmsg: family, scope, protocol, reserved, flags
	nhMemberLen = 8 // struct nexthop_grp: id, weight-1, weight's high byte, reserved
)

func familyNumber(f route.Family) byte {
	if f == route.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func familyOf(b byte) route.Family {
	switch b {
	case unix.AF_INET:
		return route.IPv4
	case unix.AF_INET6:
		return route.IPv6
	}
	return 0
}

// putNexthop writes the message that makes or replaces n.
func putNexthop(w *writer, n *kstate.Nexthop, seq uint32) error {
	const flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	if n.Group() {
		for _, m := range n.Members {
			if m.Weight < 1 || m.Weight > 256 {
				return fmt.Errorf("member %d: weight %d: want 1 to 256", m.ID, m.Weight)
			}
		}
		w.begin(unix.RTM_NEWNEXTHOP, flags, seq, unix.AF_UNSPEC, 0, kstate.Protocol, 0, 0, 0, 0, 0)
		w.u32(unix.NHA_ID, uint32(n.ID))
		w.attr(unix.NHA_GROUP, len(n.Members)*nhMemberLen)
		for _, m := range n.Members {
			w.b = native.AppendUint32(w.b, uint32(m.ID))
			w.b = append(w.b, byte(m.Weight-1), 0, 0, 0)
		}
		w.end()
		return nil
	}
	if n.Family != route.IPv4 && n.Family != route.IPv6 {
		return errors.New("neither a family nor members")
	}
	w.begin(unix.RTM_NEWNEXTHOP, flags, seq, familyNumber(n.Family), 0, kstate.Protocol, 0, 0, 0, 0, 0)
	w.u32(unix.NHA_ID, uint32(n.ID))
	w.u32(unix.NHA_OIF, uint32(n.Interface))
	if n.Gateway.IsValid() {
		w.addr(unix.NHA_GATEWAY, n.Gateway)
	}
	w.end()
	return nil
}

func deleteNexthop(w *writer, id kstate.NexthopID, seq uint32) {
	w.begin(unix.RTM_DELNEXTHOP, 0, seq, unix.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0)
	w.u32(unix.NHA_ID, uint32(id))
	w.end()
}

// parseNexthop reads RTM_NEWNEXTHOP; members come sorted by id.
func parseNexthop(b []byte) (kstate.Nexthop, error) {
	if len(b) < nhmsgLen {
		return kstate.Nexthop{}, errShort
	}
	n := kstate.Nexthop{Family: familyOf(b[0])}
	for typ, v := range attributes(b, nhmsgLen) {
		switch typ {
		case unix.NHA_ID:
			n.ID = kstate.NexthopID(number(v))
		case unix.NHA_OIF:
			n.Interface = int(number(v))
		case unix.NHA_GATEWAY:
			n.Gateway = address(v)
		case unix.NHA_GROUP:
			for ; len(v) >= nhMemberLen; v = v[nhMemberLen:] {
				n.Members = append(n.Members, kstate.Member{ID: kstate.NexthopID(native.Uint32(v)), Weight: int(v[4]) + int(v[5])<<8 + 1})
			}
		}
	}
	slices.SortFunc(n.Members, func(a, b kstate.Member) int { return int(int64(a.ID) - int64(b.ID)) })
	return n, nil
}

// Nexthops returns the nexthop objects and groups with ids of ours, sorted by id. A group has the family of its members.
func (h *Handle) Nexthops(ctx context.Context) ([]kstate.Nexthop, error) {
	all, err := h.allNexthops(ctx)
	if err != nil {
		return nil, err
	}
	family := make(map[kstate.NexthopID]route.Family, len(all))
	for _, n := range all {
		family[n.ID] = n.Family
	}
	ours := slices.DeleteFunc(all, func(n kstate.Nexthop) bool { return !n.ID.Ours() })
	for i := range ours {
		if ours[i].Group() {
			ours[i].Family = family[ours[i].Members[0].ID]
		}
	}
	return ours, nil
}

func (h *Handle) allNexthops(ctx context.Context) ([]kstate.Nexthop, error) {
	var all []kstate.Nexthop
	err := consistent(func() error {
		all = all[:0]
		return h.dump(ctx, unix.RTM_GETNEXTHOP, make([]byte, nhmsgLen), nil, func(b []byte) error {
			n, err := parseNexthop(b)
			all = append(all, n)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read nexthops: %w", err)
	}
	slices.SortFunc(all, func(a, b kstate.Nexthop) int { return int(int64(a.ID) - int64(b.ID)) })
	return all, nil
}
