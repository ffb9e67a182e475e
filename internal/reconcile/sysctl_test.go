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

// TestGuardedSettingsOfTheDaemonBefore holds that what it set and is not wanted any more is set back, before the table changes that says
// so; and nothing else is.
func TestGuardedSettingsOfTheDaemonBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const kept, left, foreign = "net.ipv4.conf.lan0.accept_local", "net.ipv4.conf.lan1.accept_local", "net.ipv4.conf.lan2.accept_local"
		f := start(t, false, kstate.Sysctl{Key: kept, Value: "1", Guarded: true}, kstate.Sysctl{Key: left, Value: "1", Guarded: true})
		defer f.stop()
		for _, key := range []string{kept, left, foreign} {
			f.kernel.sysctls[key] = "1"
		}
		f.firewall.before = func() {
			if f.kernel.sysctls[left] != "0" {
				t.Error("it is not set back when the table changes")
			}
		}
		b := f.batch()
		b.Ruleset = &kstate.Ruleset{Chains: []kstate.NftChain{{Name: "mark_in", Hook: kstate.Prerouting, Type: kstate.FilterChain}}}
		b.Sysctls = append(b.Sysctls, kstate.Sysctl{Key: kept, Value: "1", Guarded: true})
		f.r.Submit(b.Batch)
		synctest.Wait()
		if f.kernel.sysctls[kept] != "1" || f.kernel.sysctls[left] != "0" || f.kernel.sysctls[foreign] != "1" {
			t.Errorf("the settings are %v", f.kernel.sysctls)
		}
	})
}
