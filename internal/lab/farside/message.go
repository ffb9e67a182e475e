package farside

import (
	"net/netip"
	"time"
)

// RouterConfig is what a router's process is told first.
type RouterConfig struct {
	Name      string
	ASN       uint32
	RouterID  netip.Addr
	Interface string // towards the site
	Peers     []Peer
	Feeds     []string
	Prefixes  []netip.Prefix // announced beside the feeds, the default among them
	// Deaf: nothing that a peer announces is taken, so that nothing is passed on to another.
	Deaf bool
}

// Peer is a neighbor of the router: the edge, in one family.
type Peer struct {
	Address, Local  netip.Addr
	ASN             uint32
	Hold            time.Duration
	Password        string
	TTLSecurity     bool
	Passive         bool
	GracefulRestart bool
	RestartTime     time.Duration
}

// Verb is what a router can be asked to do.
type Verb string

// Verbs.
const (
	// Drop forgets the peers: their sessions end, and what they announced is gone.
	Drop Verb = "drop"
	// Add takes the peers back.
	Add Verb = "add"
	// Announce and Withdraw change what is announced.
	Announce Verb = "announce"
	Withdraw Verb = "withdraw"
	// Prepend puts the router's AS in front of everything so many times more, as a provider does to drain a link.
	Prepend Verb = "prepend"
	// Leave gives everything the community for a graceful shutdown (RFC 8326), where Count is not 0.
	Leave Verb = "leave"
	// Sessions asks for the state of each.
	Sessions Verb = "sessions"
)

// request goes to the router's process.
type request struct {
	ID       int
	Verb     Verb
	Prefixes []netip.Prefix
	Count    int
}

// message comes from the router's process: an answer where ID is not 0, else an event.
type message struct {
	ID       int
	Error    string
	Sessions []Session
	Route    *RouteEvent
}

// Session is a router's session with the edge.
type Session struct {
	Peer        netip.Addr
	State       string // as GoBGP names it
	Established bool
	Since       time.Time // when it was established last, to the second
	Received    uint64    // prefixes
	Announced   uint64
}

// RouteEvent says that the edge announced a prefix, or does no longer. The router forwards accordingly already.
type RouteEvent struct {
	Prefix    netip.Prefix
	Withdrawn bool
}
