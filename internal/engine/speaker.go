package engine

import (
	"net/netip"
	"time"

	"bothways/internal/config"
	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/policy"
	"bothways/internal/proof"
	"bothways/internal/route"
)

// Speaker runs the BGP sessions.
type Speaker interface {
	// Configure makes exactly these sessions run. Those that stay as they were go on; a change of announcements alone
	// is sent to the neighbor without a reset.
	Configure([]SessionParams)
	// Refuse ends a session because of too many prefixes, and takes the neighbor back after a while.
	Refuse(key SessionKey, retryAfter time.Duration)
	// Pause ends a session whose link lost its carrier, and connects no more until Resume.
	Pause(key SessionKey, reason string)
	Resume(key SessionKey)
	// Refresh asks the neighbor to say everything again, where it can.
	Refresh(key SessionKey)
}

// SessionParams is a session as it shall be.
type SessionParams struct {
	Key                 SessionKey
	LocalAS, NeighborAS uint32
	RouterID            netip.Addr
	Local, Neighbor     netip.Addr
	Interface           string
	Hold                time.Duration
	Passive             bool
	Password            []byte
	TTLSecurity         bool
	Role                policy.Role
	StrictRole          bool
	GracefulRestart     bool
	Restarting          bool
	Announce            []route.Announcement
}

// Kernel takes what is wanted of the kernel.
type Kernel interface {
	Submit(plan.Batch)
	// Room is an empty list of changes with the memory of a batch that was submitted before and is not needed any more, or nil.
	Room() []kstate.RouteChange
}

// Watch is told which interfaces and neighbors matter, and which single addresses are pinned.
type Watch interface {
	Set([]Watched)
	Pin([]netip.Addr)
}

// Flows deletes and lists connections. Its methods only leave word.
type Flows interface {
	Flush(flow.Mark)
	List(flow.Mark)
	Delete(flow.Mark, []flow.Flow)
	// Sample asks for some connections of a link.
	Sample(m flow.Mark, n int)
	// Use asks how full the addresses of a link are: the n fullest.
	Use(m flow.Mark, n int)
}

// Prover asks once whether replies come back, and tells the engine with Proved in any case.
type Prover interface {
	Prove(ProofParams)
}

// ProofParams is a proof as it shall be sent.
type ProofParams struct {
	proof.Subject
	Interface string
	Source    netip.Addr // the link's own address
	Mark      uint32
	Token     uint16 // by which the table knows it
	Target    proof.Target
	Timeout   time.Duration
}

// Detector runs BFD with exactly these neighbors.
type Detector interface {
	Detect([]DetectParams)
}

// DetectParams is a BFD session as it shall be.
type DetectParams struct {
	Key             SessionKey
	Interface       string
	Local, Neighbor netip.Addr
	Interval        time.Duration
	Multiplier      uint8
}

// Prober probes exactly these links.
type Prober interface {
	Probe([]ProbeLink)
}

// ProbeLink is a link with what is probed by it.
type ProbeLink struct {
	Link      string
	Interface string
	Sources   [2]netip.Addr // by family
	Mark      uint32
	Every     time.Duration
	Timeout   time.Duration
	Targets   []config.Probe
}

// Store keeps what must outlive the daemon. Save only leaves word; the last one counts.
type Store interface {
	Save(data []byte)
}

// Watched is a link for the watchers of carrier and neighbor.
type Watched struct {
	Interface string
	Index     int // 0: missing
	Neighbors []netip.Addr
	Automatic bool // its gateways come from others
}

// Adopted is what a daemon finds of the one before it.
type Adopted struct {
	Objects plan.Objects
	Routes  int
	Numbers map[string]route.Link // link numbers by interface
	Learned Learned
	// Handover is what the engine of the daemon before handed over; nil where that is gone.
	Handover *Handover
}

// Found reports whether there was anything.
func (a Adopted) Found() bool { return a.Routes > 0 }
