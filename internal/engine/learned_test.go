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
