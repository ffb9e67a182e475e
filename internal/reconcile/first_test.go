package reconcile

import (
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
)

// TestTranslationIsThereBeforeAnythingIsForwarded holds the order of the first start: a packet that is forwarded before the
// table is there leaves untranslated, and its connection stays untranslated for good.
func TestTranslationIsThereBeforeAnythingIsForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		written := 0
		f.firewall.before = func() {
			if written++; written > 1 {
				return
			}
			if n := len(f.kernel.Applied()); n > 0 {
				t.Errorf("%d changes are in the kernel before the table is", n)
			}
			if f.kernel.sysctls["net.ipv4.ip_forward"] != "" {
				t.Error("packets are forwarded before the table is there")
			}
		}
		b := f.batch()
		b.Ruleset = &kstate.Ruleset{Chains: []kstate.NftChain{{Name: "srcnat", Hook: kstate.Postrouting, Type: kstate.NATChain}}}
		f.r.Submit(b.Batch)
		synctest.Wait()
		if written != 1 || f.kernel.sysctls["net.ipv4.ip_forward"] != "1" || len(f.kernel.Applied()) == 0 {
			t.Errorf("the table was written %d times, forwarding is %q, %d changes", written, f.kernel.sysctls["net.ipv4.ip_forward"], len(f.kernel.Applied()))
		}
	})
}
