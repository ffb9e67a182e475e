package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/flow"
	"bothways/internal/route"
)

func (f *fakes) applied() {
	f.tell(Applied{Sequence: f.last().Sequence, At: time.Now()})
}

func (f *fakes) wantFlows(what string, want ...string) {
	f.t.Helper()
	if !slices.Equal(f.flows, want) {
		f.t.Errorf("%s: %v, want %v", what, f.flows, want)
	}
	f.flows = nil
}

func TestConnectionsMoveAfterTheKernelDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.flows = nil
		f.tell(CarrierChanged{Index: 2})
		f.wantFlows("before the kernel is written")
		f.applied()
		f.wantFlows("one circuit link of two: both have the pool, so each connection is looked at", "list 1")
		f.tell(CarrierChanged{Index: 3})
		f.applied()
		f.wantFlows("the second too: nothing with that pool is left", "flush 1", "flush 2")
		f.tell(CarrierChanged{Index: 4})
		f.applied()
		f.wantFlows("the last way: nowhere to go", "list 1", "list 2", "list 3")
		f.tell(CarrierChanged{Index: 3, Carrier: true})
		f.applied()
		f.wantFlows("a way came back", "list 1", "list 3")
	})
}

func TestConnectionsAreJudgedByTheirDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site+"steer: [{name: pin, to: [4.0.0.7/32], use: [isp], otherwise: drop}]\n", Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.flows = nil
		to := func(a string) flow.Flow {
			return flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort(a), Link: 1}
		}
		f.tell(CarrierChanged{Index: 2})
		mark := flow.Mark{Family: route.IPv4, Link: 1, Value: 1, Mask: 0xff}
		f.tell(FlowsListed{Mark: mark, Flows: []flow.Flow{to("4.0.0.1:443"), to("9.9.9.9:443"), to("4.0.0.7:500")}})
		f.wantFlows("the circuit's other link carries only what it reaches", "delete 9.9.9.9:443", "delete 4.0.0.7:500")
	})
}

func TestWithdrawnPrefixSweepsItsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.flows = nil
		f.tell(SessionUpdates{keyPrimary, []route.Update{{Family: route.IPv4, Withdrawn: []netip.Prefix{netip.MustParsePrefix("4.0.0.0/8")}}}})
		f.sleep(sweepPause + time.Millisecond)
		f.wantFlows("after a pause", "list 1")
	})
}

func TestPinsTakeTheirConnectionsAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := strings.Replace(site, "  isp:\n", "  first:\n    provider: internet\n    links:\n      main: {interface: lan9, address: 198.18.9.2/30, gateway: 198.18.9.1}\n    preference: 60\n    nat: {10.20.0.0/16: interface}\n  isp:\n", 1)
		f := start(t, two+"steer: [{name: pin, to: [4.0.0.7/32], use: [first, isp], otherwise: drop}]\n", Adopted{})
		defer f.end()
		f.applied()
		f.flows = nil
		now := allUp()
		for i := range now.All {
			if now.All[i].Name == "lan0" {
				now.All[i].Name = "lan9"
			}
		}
		f.tell(now)
		f.applied()
		if !slices.Contains(f.flows, "list 4") {
			t.Errorf("the pin went back to its first path, and its connections on the second were not looked at: %v", f.flows)
		}
	})
}

func TestRemovedLinkLeavesNoMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.flows = nil
		without := strings.Replace(site, "      secondary: {interface: er1, address: 192.0.2.5/30, neighbor: 192.0.2.6}\n", "", 1)
		if err := f.engine.Reload(f.ctx, load(t, without)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.wantFlows("the kernel still sends packets by it")
		f.applied()
		f.wantFlows("number 2 may be given to another link", "list 1", "flush 2", "list 3", "flush 2")
	})
}

// TestReloadLooksAtConnections: those whose addresses a circuit no longer reaches, as it accepts less now, are cut as where its
// neighbor took a prefix back.
func TestReloadLooksAtConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.flows = nil
		f.reload(strings.Replace(site, "accept: [all]", "accept: [4.0.0.0/8]", 1))
		f.wantFlows("before the kernel is written")
		f.applied()
		f.wantFlows("any link may reach less", "list 1", "list 2", "list 3")
		gone := flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort("5.0.0.1:443"), Link: 1}
		f.tell(FlowsListed{Mark: flow.Mark{Family: route.IPv4, Link: 1, Value: 1, Mask: 0xff}, Flows: []flow.Flow{gone}})
		f.wantFlows("it goes by another link now", "delete 5.0.0.1:443")
	})
}

// TestMarksOfEarlierLinksGo: so it is with the connections of links that only the daemon before had.
func TestMarksOfEarlierLinksGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{Routes: 5, Numbers: map[string]route.Link{"er9": 9}})
		defer f.end()
		f.wantFlows("the kernel still sends packets by it")
		bothUp(f)
		f.applied()
		if !slices.Contains(f.flows, "flush 9") {
			t.Errorf("number 9 may be given to another link: %v", f.flows)
		}
	})
}

// TestNowhereToGoWithTheRoutesGone has the sessions of the dead links end too, so that only a dead link is left in the
// ranking: its addresses are no better than those that the connections have.
func TestNowhereToGoWithTheRoutesGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		for _, index := range []int{4, 2, 3} {
			f.tell(CarrierChanged{Index: index})
		}
		f.tell(SessionDown{Key: keyPrimary, Reason: "no carrier"})
		f.tell(SessionDown{Key: keySecondary, Reason: "no carrier"})
		f.applied()
		f.flows = nil
		mark := flow.Mark{Family: route.IPv4, Link: 1, Value: 1, Mask: 0xff}
		f.tell(FlowsListed{Mark: mark, Flows: []flow.Flow{{
			Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort("4.0.0.1:443"), Link: 1,
		}}})
		f.wantFlows("the only link left in the ranking is dead too")
		if a := f.astray("er/primary"); a.Stranded != 1 {
			t.Errorf("astray: %+v, want one stranded", a)
		}
	})
}

// TestLoosePath moves what was opened on a path that is not sticky as soon as another is preferred.
func TestLoosePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, "    provider: internet\n", "    provider: internet\n    sticky: none\n", 1), Adopted{})
		defer f.end()
		f.applied()
		f.flows = nil
		bothUp(f)
		f.applied()
		f.sleep(2 * sweepPause)
		f.applied()
		if !slices.Contains(f.flows, "list 3") {
			t.Fatalf("the circuit announces, and connections on the ISP are not looked at: %v", f.flows)
		}
		on := func(dst string) flow.Flow {
			return flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort(dst), Link: 3}
		}
		f.flows = nil
		f.tell(FlowsListed{Mark: flow.Mark{Family: route.IPv4, Link: 3, Value: 3, Mask: 0xff}, Flows: []flow.Flow{on("4.0.0.1:443"), on("9.9.9.9:443")}})
		f.wantFlows("only what the circuit takes now", "delete 4.0.0.1:443")
	})
}

// TestLoosePathUnderAStickyRule: packets of a path that is not sticky follow the rule at once, so the connection is cut.
func TestLoosePathUnderAStickyRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loose := strings.Replace(site, "    provider: internet\n", "    provider: internet\n    sticky: none\n", 1)
		f := start(t, loose+"steer: [{name: backup, from: [10.20.9.0/24], use: [er, isp]}]\n", Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.flows = nil
		x := flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.9.1:1000"), Destination: netip.MustParseAddrPort("4.0.0.1:443"), Link: 3}
		f.tell(FlowsListed{Mark: flow.Mark{Family: route.IPv4, Link: 3, Value: 3, Mask: 0xff}, Flows: []flow.Flow{x}})
		f.wantFlows("opened on the ISP while the circuit was dead", "delete 4.0.0.1:443")
	})
}
