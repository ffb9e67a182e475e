package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
)

// TestAutomaticAddressIsGuarded holds that the table knows the addresses which others gave a link, those of now; and that a link which
// loses them with its carrier changes no table.
func TestAutomaticAddressIsGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := strings.Replace(site, "address: 198.18.1.2/30, gateway: 198.18.1.1", "address: auto, gateway: auto", 1)
		f := start(t, strings.Replace(text, "nat: {10.20.0.0/16: interface}", "nat: {10.20.0.0/16: 198.18.77.0/29}\n    prove: {targets: [{icmp: 9.9.9.9}]}", 1), Adopted{})
		defer f.end()
		set := func() (out []netip.Prefix) {
			t.Helper()
			for _, b := range slices.Backward(f.batches) {
				if b.Ruleset != nil {
					i := slices.IndexFunc(b.Ruleset.Sets, func(s kstate.NftSet) bool { return s.Name == "outside/isp/ipv4" })
					if !strings.Contains(b.Ruleset.String(), "proof_3") {
						t.Error("its pool's addresses are not proven")
					}
					return b.Ruleset.Sets[i].Prefixes
				}
			}
			return nil
		}
		has := func(address string, want bool) {
			t.Helper()
			if slices.Contains(set(), netip.MustParsePrefix(address+"/32")) != want {
				t.Errorf("%s among the path's addresses: %v, want %v", address, set(), want)
			}
		}
		has("198.18.1.2", true)
		gone := allUp()
		gone.All[3].Addresses, gone.All[3].Carrier = nil, false
		f.tell(gone)
		if b := f.last(); b.Ruleset != nil {
			t.Error("a link that dies changes the table")
		}
		other := allUp()
		other.All[3].Addresses = []netip.Prefix{netip.MustParsePrefix("198.18.9.9/24"), netip.MustParsePrefix("fe80::1/64")}
		f.tell(other)
		has("198.18.9.9", true)
		has("198.18.1.2", false)
	})
}
