package engine

import (
	"net/netip"
	"time"

	"bothways/internal/config"
	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/nat"
	"bothways/internal/proof"
	"bothways/internal/route"
	"bothways/internal/track"
)

// Event is something that happened. Events of one source arrive in their order.
type Event interface{ event() }

// SessionKey names a session: one family of one link.
type SessionKey struct {
	Link   string // expressroute/primary
	Family route.Family
}

// String is how logs name the session.
func (k SessionKey) String() string {
	if k.Family == route.IPv6 {
		return k.Link + " ipv6"
	}
	return k.Link
}

// Events.
type (
	// SessionUp: Preserved says that the neighbor forwarded on while it was away, so that what is stale may wait for
	// the End-of-RIB.
	//
	// Ends says that it will send an End-of-RIB; without graceful restart a neighbor need not, and then it has said
	// everything when it has been quiet for a while.
	//
	// Taken says that it stood before this daemon: the neighbor is asked for everything again, and Ends is about the end of
	// that (RFC 7313).
	SessionUp struct {
		Key       SessionKey
		Preserved bool
		Ends      bool
		Taken     bool
	}
	// SessionDown: Stale says that the routes may be used until StaleUntil (RFC 4724). Evidence has no time where this side
	// ended it.
	SessionDown struct {
		Key        SessionKey
		Reason     string
		Stale      bool
		StaleUntil time.Time
		Evidence   Sign
	}
	// SessionUpdates is what one read brought.
	SessionUpdates struct {
		Key     SessionKey
		Updates []route.Update
	}
	// SessionEndOfRIB: the neighbor has said all it has.
	SessionEndOfRIB struct{ Key SessionKey }
	// SessionRefresh begins or ends a refresh (RFC 7313).
	SessionRefresh struct {
		Key   SessionKey
		Start bool
	}
	// SessionDiagnostic is an error in an UPDATE that the session survived.
	SessionDiagnostic struct {
		Key  SessionKey
		Text string
	}

	// Interfaces is all that the kernel said of interfaces when it was read at At; gateways are those of others' default
	// routes by interface.
	Interfaces struct {
		At       time.Time
		All      []kstate.Interface
		Gateways map[int]Gateways
		Seen     map[int]time.Time // by interface: when it was last looked at and had a carrier
	}
	// CarrierChanged is what the poll of one interface saw.
	//
	// At is when it was read; Seen when the interface was last looked at and had a carrier; zero: not known.
	CarrierChanged struct {
		Index    int
		Carrier  bool
		At, Seen time.Time
	}
	// NeighborSeen is the state of a neighbor of a link, read at At. Confirmed is when the kernel last knew that it answers;
	// zero: not known.
	NeighborSeen struct {
		Index         int
		Address       netip.Addr
		State         kstate.NeighborState
		At, Confirmed time.Time
	}

	// SessionAnnounced tells that announcements, and prefixes taken back, were written to the session's socket.
	SessionAnnounced struct {
		Key      SessionKey
		At       time.Time
		Prefixes int
	}

	// BFDChanged is a verdict about the neighbor. Admin: an operator ended the session, which says nothing of the link.
	BFDChanged struct {
		Key       SessionKey
		Up, Admin bool
		Why       string
		Heard     time.Time // where it is not up: when the neighbor's last packet arrived; zero: never
	}
	// Probed is a result of a probe that was sent at Sent.
	Probed struct {
		Key    SessionKey
		Result track.ProbeResult
		Sent   time.Time
	}

	// Captured tells whom IKE is spoken with by a circuit.
	Captured struct {
		Path     string
		Gateways []netip.Addr
	}
	// PinRouted tells by which interface packets to a pinned address would leave; 0: by none.
	PinRouted struct {
		Address netip.Addr
		Index   int
	}

	// FlowsListed gives connections of a link that were asked for, all of them or, with More, a part.
	FlowsListed struct {
		Mark  flow.Mark
		Flows []flow.Flow
		More  bool
	}

	// Filled tells how many connections there are, of how many at most.
	Filled struct{ Count, Limit int }
	// FlowsUsed tells how full the addresses of a link are, the fullest first.
	FlowsUsed struct {
		Mark flow.Mark
		Use  []flow.Usage
	}
	// FlowsSampled gives some connections of a link.
	FlowsSampled struct{ Flows []flow.Flow }
	// Proved is what came of a proof: the interface that the reply came by, or 0 and why there is none.
	Proved struct {
		Subject proof.Subject
		Target  proof.Target
		Sent    time.Time
		Index   int
		RTT     time.Duration
		Why     string
		Unsent  bool // nothing was sent at all
	}

	// Asymmetric tells that replies took another path than their connections'.
	Asymmetric struct {
		nat.Crossing
		Packets uint64       // since the last time
		Remotes []netip.Addr // some of the addresses at the other end
	}

	// Applied tells how far the kernel is.
	Applied struct {
		Sequence uint64
		At       time.Time
	}
	// Happened is for the journal.
	Happened struct {
		At                  time.Time
		Kind, Subject, Text string
	}

	// Reload replaces the configuration. Reply gets nil, or why the old one stays.
	Reload struct {
		Config *config.Config
		Reply  chan<- error
	}
	// Drain prefers every other link to one until told otherwise; with Move its connections move along. At is when the
	// command came. Reply gets nil, or why not.
	Drain struct {
		Link     string
		On, Move bool
		At       time.Time
		Reply    chan<- error
	}
	// Ask runs a question on the owner of the state, between two batches. It must be quick.
	Ask struct {
		Do   func(*View)
		Done chan<- struct{}
	}
	// Freeze has the engine stand still; see Engine.Freeze.
	Freeze struct {
		reply chan frozen   // room for one
		over  chan struct{} // closed when it may go on
	}
	// Withdraw takes everything of ours out of the kernel. Reply is closed when the reconciler has been told.
	Withdraw struct{ Reply chan<- struct{} }

	// timer wakes the loop for something that is due.
	timer struct{}
)

// Gateways of an interface, by family.
type Gateways [2]Gateway

// Gateway is where a default route leads. A point-to-point interface has none, and still a default.
type Gateway struct {
	Default bool
	Address netip.Addr // invalid: the interface is enough
}

// Of returns the gateway in a family.
func (g Gateways) Of(f route.Family) Gateway { return g[f-route.IPv4] }

func (SessionUp) event()         {}
func (SessionDown) event()       {}
func (SessionUpdates) event()    {}
func (SessionEndOfRIB) event()   {}
func (SessionRefresh) event()    {}
func (SessionDiagnostic) event() {}
func (SessionAnnounced) event()  {}
func (Interfaces) event()        {}
func (CarrierChanged) event()    {}
func (NeighborSeen) event()      {}
func (BFDChanged) event()        {}
func (Probed) event()            {}
func (FlowsListed) event()       {}
func (Captured) event()          {}
func (PinRouted) event()         {}
func (Asymmetric) event()        {}
func (FlowsSampled) event()      {}
func (Filled) event()            {}
func (FlowsUsed) event()         {}
func (Proved) event()            {}
func (Applied) event()           {}
func (Happened) event()          {}
func (Reload) event()            {}
func (Drain) event()             {}
func (Ask) event()               {}
func (Freeze) event()            {}
func (Withdraw) event()          {}
func (timer) event()             {}
