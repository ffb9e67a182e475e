package reconcile

import (
	"errors"
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
)

// TestGuardedSettingsWaitForTheTable holds that what a rule of our table guards is never set without the table, and is set
// back before the table goes.
func TestGuardedSettingsWaitForTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		const key = "net.ipv4.conf.lan0.accept_local"
		f.firewall.set(errors.New("refused"), false)
		f.firewall.before = func() {
			if f.kernel.sysctls[key] == "1" {
				t.Error("it is set before the table is there, or still when it goes")
			}
		}
		b := f.batch()
		b.Ruleset = &kstate.Ruleset{Chains: []kstate.NftChain{{Name: "mark_in", Hook: kstate.Prerouting, Type: kstate.FilterChain}}}
		b.Sysctls = append(b.Sysctls, kstate.Sysctl{Key: key, Value: "1", Guarded: true})
		f.r.Submit(b.Batch)
		synctest.Wait()
		if f.kernel.sysctls["net.ipv4.ip_forward"] != "1" || f.kernel.sysctls[key] != "" {
			t.Fatalf("the table is refused, and the settings are %v", f.kernel.sysctls)
		}
		f.firewall.set(nil, false)
		f.r.Submit(b.Batch)
		synctest.Wait()
		if f.kernel.sysctls[key] != "1" {
			t.Fatalf("the table is there, and the settings are %v", f.kernel.sysctls)
		}
		gone := f.batch()
		gone.Ruleset, gone.Sysctls = &kstate.Ruleset{}, nil
		f.r.Submit(gone.Batch)
		synctest.Wait()
		if f.kernel.sysctls[key] != "0" {
			t.Errorf("nothing is wanted any more, and the settings are %v", f.kernel.sysctls)
		}
	})
}
