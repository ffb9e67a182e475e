package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// TestLotsKeepConnections: what is decided lot by lot leaves no link without its rule that has routes before and behind it.
func TestLotsKeepConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, "gateway: 198.18.1.1}", "neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24]", 1), Adopted{})
		defer f.end()
		isp := SessionKey{"isp/main", route.IPv4}
		f.tell(SessionUp{Key: isp, Ends: true}, SessionUpdates{isp, []route.Update{exactUpdate(isp, netip.MustParsePrefix("0.0.0.0/0"), 0), exactUpdate(isp, netip.MustParsePrefix("100.0.0.0/8"), 0)}}, SessionEndOfRIB{isp},
			SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", many()...), SessionEndOfRIB{keyPrimary})
		before := len(f.batches)
		f.tell(withdraw(isp, "0.0.0.0/0"))
		batches := f.batches[before:]
		if len(batches) < 4 {
			t.Fatalf("%d batches", len(batches))
		}
		for i, b := range batches {
			if !slices.ContainsFunc(b.Objects.Rules, func(r kstate.Rule) bool {
				return r.Sticks() && r.Table == kstate.Table+uint32(f.engine.linkNamed("isp/main").number)
			}) {
				t.Errorf("batch %d of %d: connections to 100.0.0.0/8 leave the link", i, len(batches))
			}
		}
	})
}

// TestRepliesKeepALivingLink: what answers connections that were opened by a link goes by it also while its session's end is
// dealt with, as it does behind that.
func TestRepliesKeepALivingLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		before := len(f.batches)
		f.tell(SessionDown{Key: keyPrimary, Reason: "test"})
		for i, b := range f.batches[before-1:] {
			if !slices.ContainsFunc(b.Objects.Rules, func(r kstate.Rule) bool {
				return r.Table == kstate.ReplyTable+uint32(f.engine.linkNamed("er/primary").number)
			}) {
				t.Errorf("batch %d of %d: replies leave the link", i, len(f.batches)-before)
			}
		}
	})
}
