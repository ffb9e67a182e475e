package session

import (
	"net/netip"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// Config is what a session is told once.
type Config struct {
	fsm.Params

	Name            string // of the link, such as "expressroute/primary"
	Local, Neighbor netip.Addr
	Port            uint16 // of the neighbor; 0 for 179
	Password        []byte // TCP MD5; none if empty
	TTLSecurity     bool   // GTSM, RFC 5082: send a TTL of 255 and take no other
	// NextHop is the own address that a family is announced with, where it is not Local.
	NextHop map[route.Family]netip.Addr
	// HoldEndOfRIB keeps back the End-of-RIB markers until ReleaseEndOfRIB: after a restart not all that is to be
	// announced may be known when the session stands, and a marker has the neighbor drop what it kept for us.
	HoldEndOfRIB bool
	Keeper       Keeper // nil: nothing is kept for a process that comes after a crash
}

const bgpPort = 179

func (c *Config) port() uint16 {
	if c.Port == 0 {
		return bgpPort
	}
	return c.Port
}

// encoder is how announcements are written on a connection that agreed on n.
func (c *Config) encoder(n *fsm.Negotiated) *message.Encoder {
	hops := map[route.Family]netip.Addr{}
	if !c.Local.IsLinkLocalUnicast() {
		hops[route.FamilyOf(c.Local)] = c.Local.WithZone("")
	}
	for f, a := range c.NextHop {
		hops[f] = a.WithZone("")
	}
	e := &message.Encoder{Options: n.Options, LocalAS: c.LocalAS, NextHop: hops}
	if c.Role.Set {
		switch c.Role.Is {
		case message.RoleProvider, message.RolePeer, message.RoleRouteServer:
			e.OTC = true
		}
	}
	return e
}

// Times of the effect itself.
const (
	dialTimeout = 5 * time.Second
	// closeTime is how long a NOTIFICATION may take to be written, drainTime how long the neighbor has then to read
	// it: closing earlier with unread data would have the kernel send a reset, which overtakes it.
	closeTime = 2 * time.Second
	drainTime = time.Second
	// openWrite bounds writes before the send hold time is agreed on.
	openWrite = 30 * time.Second
	// queueLimit is how many events may wait for the Sink before no more is read from the neighbor. An event of
	// updates holds what one read gave.
	queueLimit = 8
)
