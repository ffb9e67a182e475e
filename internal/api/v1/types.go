package v1

import "time"

// Version of the daemon.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

// Restarted tells that another process has taken over.
type Restarted struct {
	PID    int   `json:"pid"`
	Before int   `json:"before"`         // the process that is left
	Still  int64 `json:"stood_still_ms"` // for how long nothing was decided
}

// Path is a named way out.
type Path struct {
	Name     string   `json:"name"`
	Provider string   `json:"provider"`
	Peering  string   `json:"peering,omitempty"`
	Capacity uint64   `json:"capacity,omitempty"` // bits a second
	Links    []string `json:"links"`
	State    string   `json:"state"` // up, degraded, down
	Accepted int      `json:"accepted"`
	Announce []string `json:"announce"`
	Prepend  int      `json:"prepend,omitempty"`
}

// Link is a link in one address family.
type Link struct {
	Name      string    `json:"name"`
	Path      string    `json:"path"`
	Number    int       `json:"number"`
	Interface string    `json:"interface"`
	Family    string    `json:"family"`
	Address   string    `json:"address,omitempty"`
	Neighbor  string    `json:"neighbor"`
	State     string    `json:"state"` // up, drained, down
	Carrier   string    `json:"carrier"`
	Reachable string    `json:"reachable"` // what is known of the neighbor
	BGP       string    `json:"bgp"`       // established, stale, down, none
	Received  int       `json:"received"`
	Accepted  int       `json:"accepted"`
	Stale     int       `json:"stale"`
	Since     time.Time `json:"since"`
	// Staying counts connections that stay here while new ones to the same addresses take another link, Stranded those that
	// have addresses of this link, which is dead, and nowhere else to go. Both are of the last survey.
	Staying  int `json:"staying"`
	Stranded int `json:"stranded"`
}

// Session is a BGP session.
type Session struct {
	Link         string    `json:"link"`
	Family       string    `json:"family"`
	Neighbor     string    `json:"neighbor"`
	ASN          uint32    `json:"asn"`
	State        string    `json:"state"`
	Since        time.Time `json:"since"`
	RouterID     string    `json:"router_id,omitempty"`
	Hold         string    `json:"hold,omitempty"`
	Capabilities []string  `json:"capabilities"`
	Received     int       `json:"received"`
	Accepted     int       `json:"accepted"`
	Held         int       `json:"held,omitempty"` // taken back by the neighbor, and kept
	Announced    int       `json:"announced"`
	UpdatesIn    uint64    `json:"updates_in"`
	UpdatesOut   uint64    `json:"updates_out"`
	Established  int       `json:"established"` // times
	LastError    string    `json:"last_error,omitempty"`
}

// Route is a route that a link learned.
type Route struct {
	Prefix      string   `json:"prefix"`
	Link        string   `json:"link"`
	Tier        int      `json:"tier"` // 1: in use while it lives; 0: rejected
	Preference  uint32   `json:"preference,omitempty"`
	Path        string   `json:"path"`
	Origin      string   `json:"origin,omitempty"`
	NextHop     string   `json:"next_hop,omitempty"`
	MED         uint32   `json:"med"`
	Communities []string `json:"communities"`
	Large       []string `json:"large_communities,omitempty"`
	Static      bool     `json:"static,omitempty"`
	Stale       bool     `json:"stale,omitempty"`
	Rejected    string   `json:"rejected,omitempty"` // why
	Decided     string   `json:"decided,omitempty"`  // the step that put it behind the one before
}

// Routes is a page of routes.
type Routes struct {
	Routes []Route `json:"routes"`
	More   bool    `json:"more"` // ask again with after
	// Answer says what the prefix that was asked for is sent by.
	Answer *Answer `json:"answer,omitempty"`
}

// Answer is what a destination is sent by.
type Answer struct {
	Match string     `json:"match,omitempty"`
	Steer string     `json:"steer,omitempty"`
	Tiers [][]string `json:"tiers"`
	// Weights are those of links that share a tier unequally.
	Weights map[string]int `json:"weights,omitempty"`
	Outcome string         `json:"outcome"`
	Using   []string       `json:"using"`
}

// Ranking is a ranking in use.
type Ranking struct {
	Family  string         `json:"family"`
	Group   uint32         `json:"group"` // id of the kernel's nexthop group
	Tiers   [][]string     `json:"tiers"`
	Weights map[string]int `json:"weights,omitempty"`
	Drop    bool           `json:"drop,omitempty"`
	Routes  int            `json:"routes"` // kernel routes on it
	Outcome string         `json:"outcome"`
	Using   []string       `json:"using"`
}

// Steer is a destination of a steer rule.
type Steer struct {
	Rule string   `json:"rule"`
	From []string `json:"from"`
	To   string   `json:"to"`
	Answer
}

// Rankings are the rankings and the steer rules.
type Rankings struct {
	Rankings []Ranking `json:"rankings"`
	Steer    []Steer   `json:"steer"`
}

// NAT is the translation of one inside network on one path.
type NAT struct {
	Path    string `json:"path"`
	Network string `json:"network"`
	To      string `json:"to"`
	Kind    string `json:"kind"` // pool, interface, prefix, none
}

// Guard is a counter of what the data plane refused.
type Guard struct {
	Name    string `json:"name"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Use is how full an address of a pool is, by one protocol. It is looked at where an address may be near its end.
type Use struct {
	Link        string `json:"link"`
	Address     string `json:"address"`
	Protocol    string `json:"protocol"`
	Connections int    `json:"connections"`
	Busiest     int    `json:"busiest"` // of them, to Remote
	Remote      string `json:"remote"`
	Of          int    `json:"of"` // how many can be to one remote address and port
}

// Translation is all of NAT.
type Translation struct {
	Use    []Use   `json:"use"`
	NAT    []NAT   `json:"nat"`
	Guards []Guard `json:"guards"`
}

// Event is an entry of the journal.
type Event struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	// Cause of a failover, and of what belongs to one: carrier, neighbor, bfd, probes, session, drain.
	Cause string `json:"cause,omitempty"`
	// Evidence is what the phase detected counts from, such as "last bfd packet".
	Evidence string `json:"evidence,omitempty"`
	// Phases of a failover, in milliseconds after it was seen: decided, kernel, routes, connections, announcements, answered
	// (by another way); how long before it: detected (the evidence), reported (word of the failure was read).
	Phases map[string]float64 `json:"phases_ms,omitempty"`
	Lost   *Lost              `json:"lost,omitempty"`
}

// Lost is how many of the daemon's own questions were sent by a link that failed after the last one that was answered there,
// and until one was answered by another way. Other packets are not counted.
type Lost struct {
	Probes int `json:"probes"`
	Proofs int `json:"proofs"`
}

// Kernel is how the kernel agrees with what is wanted.
type Kernel struct {
	Mode      string    `json:"mode"`
	Agrees    bool      `json:"agrees"`
	Compared  time.Time `json:"compared"`
	Routes    int       `json:"routes"`
	Pending   int       `json:"pending"` // routes
	Behind    uint64    `json:"behind"`  // batches of changes that are not in the kernel yet
	Nexthops  int       `json:"nexthops"`
	Rules     int       `json:"rules"`
	Repaired  int       `json:"repaired"`
	Refused   int       `json:"refused"`
	LastError string    `json:"last_error,omitempty"`
	Sysctls   []Sysctl  `json:"sysctls"`
}

// Sysctl is a setting that the edge needs.
type Sysctl struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	State string `json:"state"`
}

// Status is the daemon at a glance.
type Status struct {
	Site     string    `json:"site"`
	At       time.Time `json:"at"`
	Mode     string    `json:"mode"`
	Waiting  int       `json:"waiting"` // sessions that a restart waits for
	Prefixes struct {
		IPv4 int `json:"ipv4"`
		IPv6 int `json:"ipv6"`
	} `json:"prefixes"`
	Kernel      Kernel      `json:"kernel"`
	Connections Connections `json:"connections"`
	// Findings are what is wrong with the configuration and cannot be seen in the file.
	Findings []Finding `json:"findings"`
}

// Connections is how full the kernel's table of connections is.
type Connections struct {
	// Unmarked counts packets of connections that were there before the edge: they are left alone.
	Unmarked uint64 `json:"unmarked"`
	Count    int    `json:"count"`
	Limit    int    `json:"limit"`
	State    string `json:"state"` // fine, nearly full, full
}

// Stop asks the daemon to end.
type Stop struct {
	Withdraw bool   `json:"withdraw"`
	Message  string `json:"message,omitempty"` // for the neighbors
}

// Drain asks for a link to be drained, or no longer.
type Drain struct {
	Link string `json:"link"`
	On   bool   `json:"on"`
	Move bool   `json:"move,omitempty"` // connections too
}

// Problem is the body of an answer that is an error.
type Problem struct {
	Error string `json:"error"`
}

// Asymmetry is what comes back by another path than it left by, and what does not come back.
type Asymmetry struct {
	Pairs  []AsymmetryPair `json:"pairs"`
	OneWay []OneWay        `json:"one_way"`
	// OneWayMore counts destinations with fewer such connections, which are left out.
	OneWayMore int `json:"one_way_more,omitempty"`
	// Related are ICMP errors by another path, which are no asymmetry: a router that cannot go on stands anywhere.
	Related []RelatedPair `json:"related"`
}

// RelatedPair counts ICMP errors that took one path, in either direction, about connections of another.
type RelatedPair struct {
	Connection string `json:"connection"`
	Error      string `json:"error"`
	Packets    uint64 `json:"packets"`
}

// AsymmetryPair counts packets by one path that belong to connections or addresses of another, with some of the remote addresses of the last ten
// minutes and what is probably wrong.
type AsymmetryPair struct {
	Connection string   `json:"connection"`
	Reply      string   `json:"reply"`
	Kind       string   `json:"kind"` // replies in, replies out (of a published host), requests (for the connection's addresses)
	Packets    uint64   `json:"packets"`
	Bytes      uint64   `json:"bytes"`
	Remotes    []string `json:"remotes"`
	// RemotesMore counts those that are left out.
	RemotesMore int    `json:"remotes_more,omitempty"`
	Case        string `json:"case,omitempty"`
	Cause       string `json:"cause"`
	Remedy      string `json:"remedy"`
}

// Proof is what is known of the way back to an address that a link gives to connections, before they need it.
type Proof struct {
	Link    string    `json:"link"`
	Path    string    `json:"path"`
	Family  string    `json:"family"`
	Address string    `json:"address"`
	Kind    string    `json:"kind"`    // own, pool, published, inside
	Verdict string    `json:"verdict"` // same path, other path, no reply, unknown
	By      string    `json:"by,omitempty"`
	Target  string    `json:"target,omitempty"`
	RTT     float64   `json:"rtt_ms,omitempty"`
	Case    string    `json:"case,omitempty"`
	Why     string    `json:"why"`
	Since   time.Time `json:"since"`
	At      time.Time `json:"at"` // of the last proof
}

// Symmetry is what the ways back look like from what is really announced now.
type Symmetry struct {
	Pools    []Pool    `json:"pools"`
	Findings []Finding `json:"findings"`
}

// Pool is a pool of a path, with who announces it and by which paths replies to it come.
type Pool struct {
	Path      string   `json:"path"`
	Prefix    string   `json:"prefix"`
	Announced []string `json:"announced"` // PREFIX by PATH
	Provider  []string `json:"provider"`  // paths by which a provider with a circuit here answers
	Internet  []string `json:"internet"`  // paths by which everybody else answers
}

// Finding is a rule of a provider, or of good sense, that is broken now.
type Finding struct {
	Severity string `json:"severity"` // error, warning
	Subject  string `json:"subject"`
	Case     string `json:"case,omitempty"`
	Text     string `json:"text"`
	Reason   string `json:"reason"`
}

// OneWay counts connections that were opened and never answered, by path and destination.
type OneWay struct {
	Path        string `json:"path"`
	Destination string `json:"destination"` // the prefix that the table matches
	Unanswered  int    `json:"unanswered"`
	All         int    `json:"all"`
}

// Track is one piece of evidence about a link.
type Track struct {
	Link   string    `json:"link"`
	Family string    `json:"family,omitempty"`
	Kind   string    `json:"kind"`             // carrier, neighbor, bfd, probes, probe
	Target string    `json:"target,omitempty"` // of a probe
	State  string    `json:"state"`            // up, down, unknown
	Why    string    `json:"why,omitempty"`
	Since  time.Time `json:"since"`
}
