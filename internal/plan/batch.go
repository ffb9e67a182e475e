package plan

import "bothways/internal/kstate"

// Batch is what is wanted of the kernel from now on: small state as a whole, routes as changes.
type Batch struct {
	Mode    Mode
	Objects Objects
	Ruleset *kstate.Ruleset // nil: as before
	Sysctls []kstate.Sysctl
	Shapers []kstate.Shaper // of every interface that may have one
	Routes  []kstate.RouteChange
	Replace bool // Routes is all that is wanted: what is not in it is to go
	// More: what else is decided comes at once. Until then nothing is deleted but rules, which nothing points at.
	More bool
	Lost []int // indexes of interfaces whose carrier was lost: the kernel deleted what used them
	// Dead are nexthops of dead links, for Adopt: groups that an earlier daemon left must not go on using them.
	Dead []kstate.NexthopID
	// Sequence grows with each batch; the reconciler reports the last one that is in the kernel.
	Sequence uint64
}
