package policy

// LimitAction says what happens when a neighbor sends more prefixes than it may.
type LimitAction string

// Actions beyond the limit.
const (
	LimitBlock   LimitAction = "block"   // keep what came first, ignore the rest, keep the session
	LimitRestart LimitAction = "restart" // end the session, try again later
	LimitWarn    LimitAction = "warn"    // only say so
)

// Limit bounds what a neighbor may send per family.
type Limit struct {
	Max  int
	Warn int // percent of Max
	Then LimitAction
}

// DefaultLimit holds for a link that names none: more than twice the Internet's table of 2026, so that only a fault
// meets it, and little enough to fit into memory.
func DefaultLimit() Limit { return Limit{Max: 3_000_000, Warn: 80, Then: LimitBlock} }

// Keep is how many prefixes are kept; 0: all.
func (l Limit) Keep() int {
	if l.Then == LimitWarn {
		return 0
	}
	return l.Max
}

// LimitLevel says how near to its limit a neighbor is.
type LimitLevel uint8

// Levels.
const (
	LimitFine LimitLevel = iota
	LimitNear
	LimitExceeded
)

// Level judges how many prefixes were received, and how many more came and were not kept.
func (l Limit) Level(received, beyond int) LimitLevel {
	switch {
	case received > l.Max || beyond > 0:
		return LimitExceeded
	case received*100 >= l.Max*l.Warn:
		return LimitNear
	}
	return LimitFine
}
