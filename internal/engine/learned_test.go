package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// learnedSteer is a rule that follows what the circuit announces.
const learnedSteer = "steer: [{name: all, from: [10.20.9.0/24], to: [learned/er], use: [isp]}]\n"

// TestLearnedBesideASilentNeighbor: a rule knows what the path's other neighbor announces where one announces nothing, and need not
// say so.
func TestLearnedBesideASilentNeighbor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site+learnedSteer, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keySecondary})
		f.sleep(quietTime + time.Second)
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"), SessionEndOfRIB{keyPrimary})
		f.sleep(2 * learnedPause)
		if !strings.Contains(f.saved, "4.0.0.0/8") {
			t.Errorf("learned %q", f.saved)
		}
		f.tell(announce(keySecondary, "192.0.2.6", "5.0.0.0/8"))
		f.sleep(2 * learnedPause)
		if !strings.Contains(f.saved, "5.0.0.0/8") {
			t.Errorf("learned %q", f.saved)
		}
	})
}

// TestLearnedWhileStaleRoutesAreHeld: the rule goes on knowing what is held when a neighbor says less after its restart, until that
// is held no longer.
func TestLearnedWhileStaleRoutesAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("5m")+learnedSteer, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.sleep(2 * learnedPause)
		f.tell(SessionDown{Key: keyPrimary, Reason: "lost", Stale: true, StaleUntil: time.Now().Add(time.Minute)},
			SessionUp{Key: keyPrimary, Ends: true, Preserved: true}, announce(keyPrimary, "192.0.2.2", ten()[:3]...), SessionEndOfRIB{keyPrimary})
		f.sleep(2 * learnedPause)
		if f.held("er/primary") != 7 || !strings.Contains(f.saved, "20.9.0.0/16") {
			t.Errorf("%d held, learned %s", f.held("er/primary"), f.saved)
		}
		f.sleep(5 * time.Minute)
		if f.held("er/primary") != 0 || strings.Contains(f.saved, "20.9.0.0/16") {
			t.Errorf("the time is over: %d held, learned %s", f.held("er/primary"), f.saved)
		}
	})
}
