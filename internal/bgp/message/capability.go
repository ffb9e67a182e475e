package message

import (
	"fmt"
	"time"

	"bothways/internal/route"
)

// Capability codes (RFC 5492).
const (
	capMultiprotocol   = 1
	capRouteRefresh    = 2
	capExtendedMessage = 6
	capRole            = 9
	capGracefulRestart = 64
	capFourOctetAS     = 65
	capEnhancedRefresh = 70
)

// Role is a speaker's role towards its neighbor (RFC 9234, section 4.1).
type Role uint8

// Roles.
const (
	RoleProvider          Role = 0
	RoleRouteServer       Role = 1
	RoleRouteServerClient Role = 2
	RoleCustomer          Role = 3
	RolePeer              Role = 4
)

func (r Role) String() string {
	switch r {
	case RoleProvider:
		return "provider"
	case RoleRouteServer:
		return "rs"
	case RoleRouteServerClient:
		return "rs-client"
	case RoleCustomer:
		return "customer"
	case RolePeer:
		return "peer"
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// Matches reports whether the roles of two neighbors fit each other (RFC 9234, section 4.2).
func (r Role) Matches(peer Role) bool {
	switch r {
	case RoleProvider:
		return peer == RoleCustomer
	case RoleCustomer:
		return peer == RoleProvider
	case RoleRouteServer:
		return peer == RoleRouteServerClient
	case RoleRouteServerClient:
		return peer == RoleRouteServer
	case RolePeer:
		return peer == RolePeer
	}
	return false
}

// GracefulRestart is the capability of RFC 4724 with the N bit of RFC 8538.
type GracefulRestart struct {
	Restarting   bool          // R: the sender has restarted
	Notification bool          // N: it keeps routes also after a NOTIFICATION
	Time         time.Duration // for how long its routes may be kept until it is back; whole seconds up to 4095
	Families     []GracefulFamily
}

// GracefulFamily is a family whose routes survive the sender's restart.
type GracefulFamily struct {
	Family    route.Family
	Preserved bool // F: forwarding was preserved through the restart
}

// Preserved reports whether the family is named with its F bit set.
func (g *GracefulRestart) Preserved(f route.Family) bool {
	for _, have := range g.Families {
		if have.Family == f {
			return have.Preserved
		}
	}
	return false
}

// RawCapability is a capability that this package does not know, or could not read.
type RawCapability struct {
	Code  uint8
	Value []byte
}

// Capabilities is what an OPEN announces.
type Capabilities struct {
	// Multiprotocol tells whether any multiprotocol capability was there, for whichever family: without one the
	// sender speaks IPv4 unicast (RFC 4760, section 8). It is read, not written.
	Multiprotocol   bool
	Families        []route.Family
	RouteRefresh    bool
	EnhancedRefresh bool
	Extended        bool // extended messages
	FourOctetAS     bool // its value is Open.AS
	HasRole         bool
	Role            Role
	Graceful        *GracefulRestart
	Unknown         []RawCapability
}

// Speaks lists the families the sender speaks.
func (c *Capabilities) Speaks() []route.Family {
	if !c.Multiprotocol && len(c.Families) == 0 {
		return []route.Family{route.IPv4}
	}
	return c.Families
}

// appendCapabilities appends all capabilities, without the parameter's header.
func appendCapabilities(dst []byte, c *Capabilities, as uint32) []byte {
	for _, f := range c.Families {
		dst = appendFamilyCapability(dst, f)
	}
	if c.RouteRefresh {
		dst = append(dst, capRouteRefresh, 0)
	}
	if c.Extended {
		dst = append(dst, capExtendedMessage, 0)
	}
	if c.HasRole {
		dst = append(dst, capRole, 1, byte(c.Role))
	}
	if g := c.Graceful; g != nil {
		v := min(uint16(g.Time/time.Second), 0x0fff)
		if g.Restarting {
			v |= 0x8000
		}
		if g.Notification {
			v |= 0x4000
		}
		dst = put16(append(dst, capGracefulRestart, byte(2+4*len(g.Families))), v)
		for _, f := range g.Families {
			flags := byte(0)
			if f.Preserved {
				flags = 0x80
			}
			dst = append(dst, 0, byte(f.Family), safiUnicast, flags)
		}
	}
	if c.FourOctetAS {
		dst = put32(append(dst, capFourOctetAS, 4), as)
	}
	if c.EnhancedRefresh {
		dst = append(dst, capEnhancedRefresh, 0)
	}
	for _, u := range c.Unknown {
		dst = append(append(dst, u.Code, byte(len(u.Value))), u.Value...)
	}
	return dst
}

func appendFamilyCapability(dst []byte, f route.Family) []byte {
	return append(dst, capMultiprotocol, 4, 0, byte(f), 0, safiUnicast)
}

// FamilyCapabilities is the data of an "unsupported capability" NOTIFICATION: the families that are wanted
// (RFC 5492, section 5).
func FamilyCapabilities(families []route.Family) []byte {
	var dst []byte
	for _, f := range families {
		dst = appendFamilyCapability(dst, f)
	}
	return dst
}

// parseCapabilities reads one parameter of capabilities into o. A neighbor may send one parameter for each capability.
func parseCapabilities(o *Open, b []byte) error {
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return notify(CodeOpen, 0, nil, "capability runs over the end of its parameter")
		}
		code, v := b[0], b[2:2+int(b[1])]
		b = b[2+len(v):]
		if err := parseCapability(o, code, v); err != nil {
			return err
		}
	}
	return nil
}

func parseCapability(o *Open, code uint8, v []byte) error {
	c := &o.Capabilities
	switch {
	case code == capMultiprotocol && len(v) == 4:
		c.Multiprotocol = true
		if f := familyOf(be16(v), v[3]); f != 0 && !hasFamily(c.Families, f) {
			c.Families = append(c.Families, f)
		}
	case code == capRouteRefresh && len(v) == 0:
		c.RouteRefresh = true
	case code == capExtendedMessage && len(v) == 0:
		c.Extended = true
	case code == capEnhancedRefresh && len(v) == 0:
		c.EnhancedRefresh = true
	case code == capRole && len(v) == 1:
		// RFC 9234, section 4.2: several roles that differ are a mismatch with whatever ours is.
		if c.HasRole && c.Role != Role(v[0]) {
			return notify(CodeOpen, RoleMismatch, nil, "announces two roles, %s and %s", c.Role, Role(v[0]))
		}
		c.HasRole, c.Role = true, Role(v[0])
	case code == capFourOctetAS:
		if len(v) != 4 {
			return notify(CodeOpen, 0, nil, "four-octet AS capability of %d bytes", len(v))
		}
		c.FourOctetAS, o.AS = true, be32(v)
	case code == capGracefulRestart && len(v) >= 2 && (len(v)-2)%4 == 0:
		c.Graceful = parseGraceful(v) // the last one counts: RFC 4724, section 3
	default:
		c.Unknown = append(c.Unknown, RawCapability{Code: code, Value: append([]byte(nil), v...)})
	}
	return nil
}

func parseGraceful(v []byte) *GracefulRestart {
	flags := be16(v)
	g := &GracefulRestart{
		Restarting:   flags&0x8000 != 0,
		Notification: flags&0x4000 != 0,
		Time:         time.Duration(flags&0x0fff) * time.Second,
	}
	for v = v[2:]; len(v) >= 4; v = v[4:] {
		if f := familyOf(be16(v), v[2]); f != 0 {
			g.Families = append(g.Families, GracefulFamily{Family: f, Preserved: v[3]&0x80 != 0})
		}
	}
	return g
}

func hasFamily(fs []route.Family, f route.Family) bool {
	for _, have := range fs {
		if have == f {
			return true
		}
	}
	return false
}
