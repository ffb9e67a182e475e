package flow

// Asymmetry names what is probably wrong where replies come by another path than their connection's, in the letters of the
// cases that the providers' documents describe, with the remedy.
type Asymmetry struct {
	Case   string // empty: none of the known ones
	Cause  string
	Remedy string
}

// Explain names the likely case from the kinds of the two paths: whether the connection's, and the reply's, is a circuit.
func Explain(connectionCircuit, replyCircuit bool) Asymmetry {
	switch {
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
