package policy

import "time"

// LastGood is what becomes of a set of routes that shrinks suddenly: what a neighbor took back is kept for a while, since a set
// that lost half of itself at once is more often a fault than a wish.
type LastGood struct {
	For   time.Duration // 0: nothing is held
	Share int           // percent of the set within HoldWindow that makes it sudden
	// Keep holds it until the neighbor announces the set again or its session ends. Otherwise the smaller set is taken
	// after For.
	Keep bool
}

// HoldWindow is the time within which losses count as one.
const HoldWindow = 10 * time.Second

// holdFrom is the size from which a set has a share at all.
const holdFrom = 4

// Sudden reports whether the loss of so many of the routes that there were is to be held.
func (h LastGood) Sudden(before, lost int) bool {
	return h.For > 0 && before >= holdFrom && lost*100 >= before*h.Share
}
