package fsm

import (
	"net/netip"
	"time"

	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// Params is what the machine must know of the two neighbors. The zero value of a duration takes the default.
type Params struct {
	LocalAS, NeighborAS uint32
	RouterID            netip.Addr
	Families            []route.Family // at least one must be the neighbor's, too
	Hold                time.Duration  // offered; 0 for no hold timer
	Passive             bool           // wait for the neighbor to connect
	Role                Role
	Graceful            Graceful
	Extended            bool // offer extended messages
	// ConnectRetry is the longest time between two attempts to connect; they begin a second apart.
	ConnectRetry time.Duration
	// Seed makes the jitter of timers, which should differ between neighbors.
	Seed uint64
}

// Role is the own role of RFC 9234.
type Role struct {
	Set    bool
	Is     message.Role
	Strict bool // a neighbor that announces no role is refused
}

// Graceful is what the machine offers of graceful restart.
type Graceful struct {
	Enabled     bool
	RestartTime time.Duration // for how long neighbors may keep our routes until we are back
	Restarting  bool          // we are back: said until the first session stands
	Preserved   bool          // forwarding went on meanwhile: the F bit of every family
}

// Times that no configuration changes.
const (
	openHold       = 4 * time.Minute // RFC 4271, section 8.2.2 suggests it
	retryFirst     = time.Second
	retryMax       = 60 * time.Second
	connectRetry   = 15 * time.Second
	sendHoldMin    = 8 * time.Minute // RFC 9687, section 3.1: the greater of it and twice the hold time
	restartTime    = 120 * time.Second
	challengeTime  = 3 * time.Second  // for the standing session to break when the neighbor connects anew
	collisionWait  = 2 * time.Second  // for the OPEN on a connection that would survive a collision
	collisionEcho  = 10 * time.Second // age below which a new connection is the echo of a collision
	sessionSettled = 30 * time.Second // age at which a session clears the back-off of errors before it
)

// open is the OPEN that we send.
func (p *Params) open(restarting bool) *message.Open {
	o := &message.Open{
		Version: 4, AS: p.LocalAS, HoldTime: p.Hold, RouterID: p.RouterID,
		Capabilities: message.Capabilities{
			Families: p.Families, RouteRefresh: true, EnhancedRefresh: true, FourOctetAS: true,
			Extended: p.Extended, HasRole: p.Role.Set, Role: p.Role.Is,
		},
	}
	if p.Graceful.Enabled {
		g := &message.GracefulRestart{Restarting: restarting, Notification: true, Time: p.Graceful.RestartTime}
		if g.Time == 0 {
			g.Time = restartTime
		}
		for _, f := range p.Families {
			g.Families = append(g.Families, message.GracefulFamily{Family: f, Preserved: p.Graceful.Preserved})
		}
		o.Capabilities.Graceful = g
	}
	return o
}
