package fsm

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// Negotiated is what the two OPENs came to. It is immutable.
type Negotiated struct {
	message.Options
	RouterID        netip.Addr    // the neighbor's
	Hold            time.Duration // 0 for none
	Keepalive       time.Duration // 0 for none
	SendHold        time.Duration
	RouteRefresh    bool
	EnhancedRefresh bool
	HasRole         bool // the neighbor announced one
	Role            message.Role
	// Graceful is the neighbor's capability where both sides have it, or nil. Where a session is up again and a
	// family is not Preserved in it, routes that were kept as stale must go at once (RFC 4724, section 4.2).
	Graceful *message.GracefulRestart
}

func refuse(s message.Subcode, data []byte, format string, args ...any) *message.NotificationError {
	return &message.NotificationError{
		Notification: &message.Notification{Code: message.CodeOpen, Subcode: s, Data: data},
		Detail:       fmt.Sprintf(format, args...),
	}
}

// negotiate judges the neighbor's OPEN (RFC 4271, section 6.2).
func (p *Params) negotiate(o *message.Open) (*Negotiated, *message.NotificationError) {
	c := &o.Capabilities
	switch {
	case o.AS != p.NeighborAS:
		return nil, refuse(message.BadPeerAS, nil, "wrong AS %d, want %d", o.AS, p.NeighborAS)
	case o.RouterID == netip.IPv4Unspecified():
		return nil, refuse(message.BadIdentifier, nil, "router id 0.0.0.0")
	case o.RouterID == p.RouterID && o.AS == p.LocalAS:
		// RFC 6286, section 2.2: between different AS the same identifier is allowed.
		return nil, refuse(message.BadIdentifier, nil, "router id %s is ours", o.RouterID)
	case o.HoldTime > 0 && o.HoldTime < 3*time.Second:
		return nil, refuse(message.UnacceptableHoldTime, nil, "hold time %v, want 0 or at least 3s", o.HoldTime)
	}
	if err := p.checkRole(c); err != nil {
		return nil, err
	}
	n := &Negotiated{
		Options:  message.Options{FourOctetAS: c.FourOctetAS, Extended: c.Extended && p.Extended},
		RouterID: o.RouterID,
		Hold:     min(p.Hold, o.HoldTime),
		// Enhanced refresh comes with the plain one (RFC 7313, section 3).
		RouteRefresh: c.RouteRefresh || c.EnhancedRefresh, EnhancedRefresh: c.EnhancedRefresh,
		HasRole: c.HasRole, Role: c.Role,
	}
	for _, f := range p.Families {
		if slices.Contains(c.Speaks(), f) {
			n.Families = append(n.Families, f)
		}
	}
	if len(n.Families) == 0 {
		return nil, refuse(message.UnsupportedCapability, message.FamilyCapabilities(p.Families),
			"no family in common: has %s, want %s", familyList(c.Speaks()), familyList(p.Families))
	}
	n.Keepalive = n.Hold / 3
	n.SendHold = max(sendHoldMin, 2*n.Hold)
	if p.Graceful.Enabled {
		n.Graceful = c.Graceful
	}
	return n, nil
}

// checkRole compares the roles (RFC 9234, section 4.2).
func (p *Params) checkRole(c *message.Capabilities) *message.NotificationError {
	switch {
	case !p.Role.Set:
		return nil
	case !c.HasRole && p.Role.Strict:
		return refuse(message.RoleMismatch, nil, "announces no role, ours is %s", p.Role.Is)
	case c.HasRole && !p.Role.Is.Matches(c.Role):
		return refuse(message.RoleMismatch, nil, "role %s does not fit ours, %s", c.Role, p.Role.Is)
	}
	return nil
}

func familyList(fs []route.Family) string {
	if len(fs) == 0 {
		return "none of ours"
	}
	s := ""
	for i, f := range fs {
		if i > 0 {
			s += ", "
		}
		s += f.String()
	}
	return s
}

// stale lists the families whose routes outlive a loss. notified tells that a NOTIFICATION or our hold timer ended the
// session, for which RFC 8538 asks that both sides set the N bit: we always do.
func (n *Negotiated) stale(notified bool) []route.Family {
	if n.Graceful == nil || notified && !n.Graceful.Notification {
		return nil
	}
	var out []route.Family
	for _, f := range n.Families {
		for _, g := range n.Graceful.Families {
			if g.Family == f {
				out = append(out, f)
			}
		}
	}
	return out
}
