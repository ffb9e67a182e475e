package rtnl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

const rtmsgLen = unix.SizeofRtMsg // family, dst_len, src_len, tos, table, protocol, scope, type, flags

// rtaNexthopID is RTA_NH_ID, which x/sys lacks.
const rtaNexthopID = 30

var errNoMetric = errors.New("metric 0: our routes have one, since to the kernel 0 is any metric on deletion and 1024 in IPv6")

// putRoute writes the message that makes r, or replaces the route with its key.
//
// NLM_F_REPLACE looks at table, prefix and metric alone (and tos, always 0 here). In IPv4 it replaces what it finds,
// whatever the protocol. In IPv6 it replaces the first route of that metric unless that could be part of an
// old-style multipath route, which a nexthop object or a blackhole cannot.
func putRoute(w *writer, r *kstate.Route, seq uint32) error {
	if r.Metric == 0 {
		return errNoMetric
	}
	if (r.Type == kstate.Unicast) != (r.Nexthop != 0) {
		return fmt.Errorf("type %s with nexthop %d", r.Type, r.Nexthop)
	}
	family := familyNumber(route.FamilyOf(r.Prefix.Addr()))
	w.begin(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, seq,
		family, byte(r.Prefix.Bits()), 0, 0, unix.RT_TABLE_UNSPEC, kstate.Protocol, unix.RT_SCOPE_UNIVERSE, byte(r.Type), 0, 0, 0, 0)
	routeKey(w, r)
	if r.Nexthop != 0 {
		w.u32(rtaNexthopID, uint32(r.Nexthop))
	}
	w.end()
	return nil
}

// deleteRoute writes the message that deletes the route with r's key, if its protocol is ours: the kernel compares it.
func deleteRoute(w *writer, r *kstate.Route, seq uint32) error {
	if r.Metric == 0 {
		return errNoMetric
	}
	family := familyNumber(route.FamilyOf(r.Prefix.Addr()))
	// RT_SCOPE_NOWHERE and type 0 stand for any.
	w.begin(unix.RTM_DELROUTE, 0, seq,
		family, byte(r.Prefix.Bits()), 0, 0, unix.RT_TABLE_UNSPEC, kstate.Protocol, unix.RT_SCOPE_NOWHERE, 0, 0, 0, 0, 0)
	routeKey(w, r)
	w.end()
	return nil
}

func routeKey(w *writer, r *kstate.Route) {
	if r.Prefix.Bits() > 0 {
		w.addr(unix.RTA_DST, r.Prefix.Addr())
	}
	w.u32(unix.RTA_TABLE, r.Table)
	w.u32(unix.RTA_PRIORITY, r.Metric)
}

// parsedRoute is a route with what belongs to other people's routes only.
type parsedRoute struct {
	kstate.Route
	family   route.Family
	protocol byte
	hops     []hop
}

// hop is a gateway in a route without a nexthop object.
type hop struct {
	device  int
	gateway netip.Addr
}

func parseRoute(b []byte) (parsedRoute, error) {
	if len(b) < rtmsgLen {
		return parsedRoute{}, errShort
	}
	r := parsedRoute{family: familyOf(b[0]), protocol: b[5]}
	if r.family == 0 {
		return r, fmt.Errorf("route of address family %d", b[0])
	}
	dst := r.family.Default().Addr()
	r.Table, r.Type = uint32(b[4]), kstate.RouteType(b[7])
	var one hop
	for typ, v := range attributes(b, rtmsgLen) {
		switch typ {
		case unix.RTA_DST:
			dst = address(v)
		case unix.RTA_TABLE:
			r.Table = number(v)
		case unix.RTA_PRIORITY:
			r.Metric = number(v)
		case rtaNexthopID:
			r.Nexthop = kstate.NexthopID(number(v))
		case unix.RTA_OIF:
			one.device = int(number(v))
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			one.gateway = gateway(typ, v)
		case unix.RTA_MULTIPATH:
			r.hops = append(r.hops, multipath(v)...)
		}
	}
	r.Prefix = netip.PrefixFrom(dst, int(b[1]))
	if one.device != 0 {
		r.hops = append(r.hops, one)
	}
	return r, nil
}

// gateway reads RTA_GATEWAY, or RTA_VIA: a gateway of the other family behind its number.
func gateway(typ uint16, v []byte) netip.Addr {
	if typ == unix.RTA_VIA && len(v) > 2 {
		v = v[2:]
	}
	return address(v)
}

func multipath(v []byte) []hop {
	var hops []hop
	for len(v) >= unix.SizeofRtNexthop {
		n := int(native.Uint16(v))
		if n < unix.SizeofRtNexthop || n > len(v) {
			break
		}
		h := hop{device: int(native.Uint32(v[4:]))}
		for typ, a := range attributes(v[:n], unix.SizeofRtNexthop) {
			if typ == unix.RTA_GATEWAY || typ == unix.RTA_VIA {
				h.gateway = gateway(typ, a)
			}
		}
		hops = append(hops, h)
		v = v[min((n+3)&^3, len(v)):]
	}
	return hops
}

// Routes gives fn every route of ours, of both families and in any table, in the kernel's order. It may take a second
// with a full table; fn may change routes meanwhile. After an error what fn was given is incomplete.
func (h *Handle) Routes(ctx context.Context, fn func(kstate.Route) error) error {
	for _, family := range route.Families() {
		// With strict checking the kernel itself leaves out other protocols.
		fixed := []byte{familyNumber(family), 0, 0, 0, 0, kstate.Protocol, 0, 0, 0, 0, 0, 0}
		err := h.dump(ctx, unix.RTM_GETROUTE, fixed, nil, func(b []byte) error {
			r, err := parseRoute(b)
			if err != nil || r.protocol != kstate.Protocol || r.family != family {
				return err
			}
			return fn(r.Route)
		})
		if err != nil {
			return fmt.Errorf("read %s routes: %w", family, err)
		}
	}
	return nil
}
