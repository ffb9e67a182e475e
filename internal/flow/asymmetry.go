package flow

// Asymmetry names what is probably wrong where replies come by another path than their connection's, in the letters of the
// cases that the providers' documents describe, with the remedy.
type Asymmetry struct {
	Case   string // empty: none of the known ones
	Cause  string
	Remedy string
}

// CrossingKind says which packets take another path than their connection's.
type CrossingKind string

// Kinds of crossings.
const (
	ReplyIn  CrossingKind = "asymmetry"     // replies to connections of the site
	ReplyOut CrossingKind = "asymmetry_out" // the site's replies to connections that were opened from outside
	Request  CrossingKind = "astray"        // requests from outside for an address of another path
)

// CrossingKinds lists them.
func CrossingKinds() []CrossingKind { return []CrossingKind{ReplyIn, ReplyOut, Request} }

// Crossing is what is known of packets that take another path than their connection's.
type Crossing struct {
	Kind CrossingKind
	// Connection and By say whether the connection's path, and that of the packets, is a circuit.
	Connection, By bool
	// Refused: the circuit announces the remote addresses, and the configuration does not accept them.
	Refused bool
	// Draining: the provider prefers another way for the circuit's link for now, by a longer path or a graceful shutdown.
	Draining bool
}

// Explain names the likely case.
func Explain(c Crossing) Asymmetry {
	connectionCircuit, replyCircuit := c.Connection, c.By
	switch {
	case c.Draining && (connectionCircuit || replyCircuit):
		return Asymmetry{"F", "the provider drains a link of the circuit by a longer path or a graceful shutdown, and the site or the provider uses another one",
			"follow it: no preference between the circuits, and no rule that holds traffic to one of them"}
	case c.Kind == Request && !connectionCircuit && replyCircuit:
		return Asymmetry{"C", "the provider asks on the circuit for an address that the Internet path serves: it is announced there too",
			"announce it by the Internet path only, or publish it on the circuit as well"}
	case c.Kind == Request && connectionCircuit && replyCircuit:
		return Asymmetry{"D", "the provider asks on one circuit for an address that another one serves",
			"announce the address on its own circuit only, or publish it on both"}
	case c.Kind == Request:
		return Asymmetry{"", "an address of one path is asked for on another, where it is announced too",
			"announce each address by its own path only"}
	case c.Kind == ReplyOut && !connectionCircuit && replyCircuit:
		return Asymmetry{"C", "it was opened by the Internet, and its reply follows the circuit's routes",
			"let replies follow their connections (symmetry: enforce), or publish with source-nat: true"}
	case c.Kind == ReplyOut && connectionCircuit && replyCircuit:
		return Asymmetry{"D", "it was opened by one circuit, and its reply leaves by another",
			"publish on each circuit with an address of its own, and let replies follow their connections"}
	case c.Kind == ReplyOut && connectionCircuit:
		return Asymmetry{"E", "a server of the provider asked by the circuit whose prefix is not accepted there, so the reply has no way back by it",
			"accept all that the circuit announces where a host is published on it, or publish with source-nat: true"}
	case c.Refused && !connectionCircuit && replyCircuit:
		return Asymmetry{"G", "accept leaves out prefixes that the circuit announces, and the provider answers on the circuit all the same",
			"accept them, or give the Internet path a pool that is not announced on the circuit"}
	case connectionCircuit && !replyCircuit:
		return Asymmetry{"A", "the provider does not see the circuit's pool announced and accepted there, or sees it longer on the Internet",
			"announce the pool on the circuit, have it registered there, and announce nothing as specific on the Internet"}
	case !connectionCircuit && replyCircuit:
		return Asymmetry{"B", "the pool of the Internet path is announced on the circuit too, and the provider prefers the circuit",
			"give each path a pool of its own, or announce a more specific prefix on the path that it belongs to"}
	case connectionCircuit && replyCircuit:
		return Asymmetry{"D", "the pool of one circuit is announced on another",
			"give each circuit a pool of its own"}
	}
	return Asymmetry{"", "the pool of one ISP is announced by another",
		"announce each pool by its own ISP only, or with a longer path elsewhere"}
}
