package flow

// Asymmetry names what is probably wrong where replies come by another path than their connection's, in the letters of the
// cases that the providers' documents describe, with the remedy.
type Asymmetry struct {
	Case   string // empty: none of the known ones
	Cause  string
	Remedy string
}

// Crossing is what is known of replies that take another path than their connection's.
type Crossing struct {
	Connection, Reply bool // whether the connection's path, and the reply's, is a circuit
	// Out: the connection was opened from outside, and the reply is the site's own.
	Out bool
	// Refused: the circuit announces the remote addresses, and the configuration does not accept them.
	Refused bool
	// Draining: the provider prefers another way for the circuit's link for now, by a longer path.
	Draining bool
}

// Explain names the likely case.
func Explain(c Crossing) Asymmetry {
	connectionCircuit, replyCircuit := c.Connection, c.Reply
	switch {
	case c.Draining && (connectionCircuit || replyCircuit):
		return Asymmetry{"F", "the provider drains a link of the circuit by a longer path, and the site or the provider uses another one",
			"follow the longer path: no preference between the circuits, and no rule that holds traffic to one of them"}
	case c.Out && !connectionCircuit && replyCircuit:
		return Asymmetry{"C", "it was opened by the Internet, and its reply follows the circuit's routes",
			"let replies follow their connections (symmetry: enforce), or publish with source-nat: true"}
	case c.Out && connectionCircuit && replyCircuit:
		return Asymmetry{"D", "it was opened by one circuit, and its reply leaves by another",
			"publish on each circuit with an address of its own, and let replies follow their connections"}
	case c.Out && connectionCircuit:
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
