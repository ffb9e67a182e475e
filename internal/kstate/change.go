package kstate

// Verb says what a change does to an object.
type Verb uint8

// Verbs. Put creates or replaces; deleting what is not there is success.
const (
	Put Verb = iota
	Delete
)

// Change is one step of a plan. Exactly one of the three objects is set.
type Change struct {
	Verb    Verb
	Nexthop *Nexthop
	Route   *Route
	Rule    *Rule
}

// PutNexthop, PutRoute, PutRule and the Delete functions build changes.
func PutNexthop(n Nexthop) Change    { return Change{Nexthop: &n} }
func PutRoute(r Route) Change        { return Change{Route: &r} }
func PutRule(r Rule) Change          { return Change{Rule: &r} }
func DeleteNexthop(n Nexthop) Change { return Change{Verb: Delete, Nexthop: &n} }
func DeleteRoute(r Route) Change     { return Change{Verb: Delete, Route: &r} }
func DeleteRule(r Rule) Change       { return Change{Verb: Delete, Rule: &r} }

// String prints the change as an ip command's arguments.
func (c Change) String() string {
	verb := map[bool]string{true: "del", false: "replace"}[c.Verb == Delete]
	switch {
	case c.Nexthop != nil:
		return insertVerb(c.Nexthop.String(), "nexthop", verb)
	case c.Route != nil:
		return insertVerb(c.Route.String(), "route", verb)
	case c.Rule != nil:
		if verb == "replace" {
			verb = "add"
		}
		return insertVerb(c.Rule.String(), "rule", verb)
	}
	return "nothing"
}

func insertVerb(s, noun, verb string) string {
	for i := 0; i+len(noun) <= len(s); i++ {
		if s[i:i+len(noun)] == noun {
			return s[:i+len(noun)] + " " + verb + s[i+len(noun):]
		}
	}
	return verb + " " + s
}

// Failure is a change that the kernel refused.
type Failure struct {
	Change Change
	Err    error
}
