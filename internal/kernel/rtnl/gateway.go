package rtnl

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// Gateway returns the gateway of the best default route that somebody else (DHCP, PPP, a router advertisement, an
// administrator) put into table main on the interface; ok is false where there is none. The address is invalid where
// the route has no gateway, as on a point-to-point interface.
func (h *Handle) Gateway(ctx context.Context, ifindex int, family route.Family) (gateway netip.Addr, ok bool, err error) {
	objects := map[kstate.NexthopID]kstate.Nexthop(nil)
	fixed := []byte{familyNumber(family), 0, 0, 0, unix.RT_TABLE_MAIN, 0, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
	err = consistent(func() error {
		gateway, ok = netip.Addr{}, false
		var best uint32
		return h.dump(ctx, unix.RTM_GETROUTE, fixed, func(w *writer) { w.u32(unix.RTA_TABLE, unix.RT_TABLE_MAIN) }, func(b []byte) error {
			r, err := parseRoute(b)
			if err != nil {
				return err
			}
			if r.family != family || r.Prefix.Bits() != 0 || r.Table != unix.RT_TABLE_MAIN || r.protocol == kstate.Protocol || ok && r.Metric >= best {
				return nil
			}
			if r.Nexthop != 0 && objects == nil {
				if objects, err = h.nexthopsByID(ctx); err != nil {
					return err
				}
			}
			hops := r.hops
			if r.Nexthop != 0 {
				hops = hopsOf(objects, r.Nexthop)
			}
			for _, hop := range hops {
				if hop.device == ifindex {
					gateway, ok, best = hop.gateway, true, r.Metric
					break
				}
			}
			return nil
		})
	})
	if err != nil {
		return netip.Addr{}, false, fmt.Errorf("read %s default routes of interface %d: %w", family, ifindex, err)
	}
	return gateway, ok, nil
}

func (h *Handle) nexthopsByID(ctx context.Context) (map[kstate.NexthopID]kstate.Nexthop, error) {
	all, err := h.allNexthops(ctx)
	byID := make(map[kstate.NexthopID]kstate.Nexthop, len(all))
	for _, n := range all {
		byID[n.ID] = n
	}
	return byID, err
}

// hopsOf resolves a nexthop object: with nexthop_compat_mode=0, which we set, IPv4 routes no longer tell their gateways.
func hopsOf(objects map[kstate.NexthopID]kstate.Nexthop, id kstate.NexthopID) []hop {
	n := objects[id]
	if !n.Group() {
		return []hop{{n.Interface, n.Gateway}}
	}
	var hops []hop
	for _, m := range n.Members {
		hops = append(hops, hop{objects[m.ID].Interface, objects[m.ID].Gateway})
	}
	return hops
}
