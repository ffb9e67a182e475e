package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStaleIsNotCountedAgainstTheNeighbor: what a neighbor said before its restart, and says no more after it, takes no room of what it
// says instead.
func TestStaleIsNotCountedAgainstTheNeighbor(t *testing.T) {
	for n, refused := range map[int]int{10: 0, 12: 0, 13: 1} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, strings.Replace(site, "neighbor: 192.0.2.2", "neighbor: 192.0.2.2, max-prefixes: {count: 12, then: restart}", 1), Adopted{})
			defer f.end()
			f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
			f.tell(SessionDown{Key: keyPrimary, Reason: "lost", Stale: true, StaleUntil: time.Now().Add(time.Minute)},
				SessionUp{Key: keyPrimary, Ends: true, Preserved: true})
			for _, p := range many()[:n] {
				f.tell(announce(keyPrimary, "192.0.2.2", p))
			}
			f.tell(SessionEndOfRIB{keyPrimary})
			if len(f.refused) != refused {
				t.Errorf("%d prefixes of at most 12, and refused %d times:\n%s", n, len(f.refused), f.journal())
			}
		})
	}
}
