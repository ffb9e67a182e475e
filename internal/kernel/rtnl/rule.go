package rtnl

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

const (
	ruleLen = 12 // struct fib_rule_hdr: family, dst_len, src_len, tos, table, two reserved, action, flags
	toTable = unix.FR_ACT_TO_TBL
)

// writeRule writes the message that adds r, or deletes it.
//
// The kernel does not compare the protocol when it looks whether a rule exists: the same rule by somebody else makes
// a put succeed without a rule of ours. When it deletes, it compares everything that is given.
func writeRule(w *writer, r *kstate.Rule, typ, flags uint16, seq uint32) {
	w.begin(typ, flags, seq, familyNumber(r.Family), 0, 0, 0, unix.RT_TABLE_UNSPEC, 0, 0, toTable, 0, 0, 0, 0)
	w.u32(unix.FRA_PRIORITY, r.Priority)
	w.u32(unix.FRA_TABLE, r.Table)
	if r.Mask != 0 {
		w.u32(unix.FRA_FWMARK, r.Mark)
		w.u32(unix.FRA_FWMASK, r.Mask)
	}
	if r.Local {
		w.name(unix.FRA_IIFNAME, "lo")
	}
	if r.SuppressPrefixLength >= 0 {
		w.u32(unix.FRA_SUPPRESS_PREFIXLEN, uint32(r.SuppressPrefixLength))
	}
	w.u8(unix.FRA_PROTOCOL, kstate.Protocol)
	w.end()
}

// parseRule reads RTM_NEWRULE; ok is false for a rule that is not ours or that kstate cannot express.
func parseRule(b []byte) (r kstate.Rule, ok bool, err error) {
	if len(b) < ruleLen {
		return r, false, errShort
	}
	r = kstate.Rule{Family: familyOf(b[0]), Table: uint32(b[4]), SuppressPrefixLength: -1}
	ours, strange := false, b[1] != 0 || b[2] != 0 || b[3] != 0 || b[7] != toTable
	for typ, v := range attributes(b, ruleLen) {
		switch typ {
		case unix.FRA_PRIORITY:
			r.Priority = number(v)
		case unix.FRA_TABLE:
			r.Table = number(v)
		case unix.FRA_FWMARK:
			r.Mark = number(v)
		case unix.FRA_FWMASK:
			r.Mask = number(v)
		case unix.FRA_SUPPRESS_PREFIXLEN:
			r.SuppressPrefixLength = int(int32(number(v)))
		case unix.FRA_PROTOCOL:
			ours = number(v) == kstate.Protocol
		case unix.FRA_IIFNAME:
			r.Local = cstring(v) == "lo"
			strange = strange || !r.Local
		case unix.FRA_OIFNAME, unix.FRA_IP_PROTO, unix.FRA_SPORT_RANGE, unix.FRA_DPORT_RANGE, unix.FRA_UID_RANGE:
			strange = true
		}
	}
	ok = ours && !strange && r.Family != 0 && r.Priority >= kstate.PriorityLink && r.Priority <= kstate.PriorityLast
	return r, ok, nil
}

// Rules returns our policy rules, by family and priority. A rule with our protocol that selects by something else than
// the mark is not ours.
func (h *Handle) Rules(ctx context.Context) ([]kstate.Rule, error) {
	var rules []kstate.Rule
	for _, family := range route.Families() {
		keep := len(rules)
		err := consistent(func() error {
			rules = rules[:keep]
			return h.dump(ctx, unix.RTM_GETRULE, append([]byte{familyNumber(family)}, make([]byte, ruleLen-1)...), nil, func(b []byte) error {
				r, ok, err := parseRule(b)
				if ok && r.Family == family {
					rules = append(rules, r)
				}
				return err
			})
		})
		if err != nil {
			return nil, fmt.Errorf("read %s rules: %w", family, err)
		}
	}
	slices.SortStableFunc(rules, func(a, b kstate.Rule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Mark, b.Mark))
	})
	return rules, nil
}
