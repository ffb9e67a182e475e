package rtnl

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Features asks the kernel for what the product needs and returns the names of what it lacks. The error is
// ErrNotPermitted where the process may not change the network at all.
func (h *Handle) Features(ctx context.Context) (missing []string, err error) {
	s, err := dial(h.ns, unix.NETLINK_NETFILTER, 0)
	if err != nil && !errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, fmt.Errorf("features: %w", err)
	}
	if err != nil {
		missing = append(missing, "netfilter's netlink (CONFIG_NETFILTER_NETLINK)")
	} else {
		defer s.close()
		for _, ask := range []struct {
			name string
			typ  uint16
		}{
			{"nf_tables (CONFIG_NF_TABLES)", unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN},
			{"connection tracking by netlink (CONFIG_NF_CT_NETLINK)", unix.NFNL_SUBSYS_CTNETLINK<<8 | ctGetStats},
		} {
			s.w.reset()
			s.w.begin(ask.typ, unix.NLM_F_ACK, s.nextSeq(), unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0)
			s.w.end()
			err := s.ask(nil)
			var refused *Error
			switch {
			case errors.Is(err, unix.EPERM):
				return nil, fmt.Errorf("features: %w", ErrNotPermitted)
			case errors.As(err, &refused):
				missing = append(missing, ask.name)
			case err != nil:
				return nil, fmt.Errorf("features: %w", err)
			}
		}
	}
	for _, ask := range []struct {
		name  string
		typ   uint16
		fixed []byte
	}{
		{"nexthop objects (Linux 5.3)", unix.RTM_GETNEXTHOP, make([]byte, nhmsgLen)},
		{"IPv4 policy routing (CONFIG_IP_MULTIPLE_TABLES)", unix.RTM_GETRULE, append([]byte{unix.AF_INET}, make([]byte, ruleLen-1)...)},
		{"IPv6 policy routing (CONFIG_IPV6_MULTIPLE_TABLES)", unix.RTM_GETRULE, append([]byte{unix.AF_INET6}, make([]byte, ruleLen-1)...)},
	} {
		var refused *Error
		err := h.dump(ctx, ask.typ, ask.fixed, nil, func([]byte) error { return nil })
		switch {
		case errors.As(err, &refused):
			missing = append(missing, ask.name)
		case err != nil && !errors.Is(err, ErrInterrupted):
			return nil, fmt.Errorf("features: %w", err)
		}
	}
	return missing, nil
}

// ctGetStats is IPCTNL_MSG_CT_GET_STATS, which x/sys lacks: it costs nothing, unlike a dump of connections.
const ctGetStats = 5
