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

// TestAFailoverDoesNotWaitForATable: a link that fails while a whole table is decided leaves the groups in the middle of that, however
// much neighbors said before it, and that is taken after.
func TestAFailoverDoesNotWaitForATable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", many()...), SessionEndOfRIB{keyPrimary},
			SessionUp{Key: keySecondary, Ends: true}, announce(keySecondary, "192.0.2.6", many()...))
		before := len(f.batches)
		failed := false
		f.submitted = func() {
			if !failed {
				failed = true
				for range cap(f.engine.inbox) {
					f.engine.Tell(f.ctx, withdraw(keySecondary, "20.0.0.0/24"))
				}
				f.engine.Tell(f.ctx, CarrierChanged{Index: 2})
			}
		}
		f.tell(SessionEndOfRIB{keySecondary})
		batches := f.batches[before:]
		if !failed || len(batches) < 5 {
			t.Fatalf("%d batches", len(batches))
		}
		dead := kstate.LinkNexthop(f.engine.linkNamed("er/primary").number, route.IPv4)
		uses := func(n kstate.Nexthop) bool {
			return slices.ContainsFunc(n.Members, func(m kstate.Member) bool { return m.ID == dead })
		}
		if !slices.ContainsFunc(batches[0].Objects.Nexthops, uses) {
			t.Error("the link is not used before it fails")
		}
		quick := batches[1]
		if slices.ContainsFunc(quick.Objects.Nexthops, uses) || len(quick.Routes) > 0 || !slices.Equal(quick.Lost, []int{2}) || !quick.More {
			t.Errorf("the next batch is %d routes, lost %v, more %v, groups %v", len(quick.Routes), quick.Lost, quick.More, quick.Objects.Nexthops)
		}
		if b := batches[2]; !b.More || len(b.Routes) == 0 || slices.ContainsFunc(b.Objects.Nexthops, uses) {
			t.Errorf("behind it come %d routes, more %v", len(b.Routes), b.More)
		}
		if f.last().More {
			t.Error("the reconciler waits for more")
		}
		key := kstate.RouteKey{Table: kstate.Table + uint32(f.engine.linkNamed("er/secondary").number), Prefix: netip.MustParsePrefix("20.0.0.0/24"), Metric: kstate.MetricRanking}
		if _, ok := f.routes[key]; ok {
			t.Error("what was withdrawn before the failure is still there")
		}
	})
}

// TestAFailoverDoesNotWaitForAnother: a link that fails while the routes of a session that ended are taken out does not wait for
// that either.
func TestAFailoverDoesNotWaitForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", many()...), SessionEndOfRIB{keyPrimary},
			SessionUp{Key: keySecondary, Ends: true}, announce(keySecondary, "192.0.2.6", many()...), SessionEndOfRIB{keySecondary})
		before := len(f.batches)
		failed := false
		f.submitted = func() {
			if !failed {
				failed = true
				f.engine.Tell(f.ctx, CarrierChanged{Index: 3})
			}
		}
		f.tell(SessionDown{Key: keyPrimary, Reason: "test"})
		batches := f.batches[before:]
		if !failed || len(batches) < 3 {
			t.Fatalf("%d batches", len(batches))
		}
		for i, b := range batches[:2] {
			if len(b.Routes) > 0 {
				t.Errorf("batch %d has %d routes", i, len(b.Routes))
			}
		}
		if b := batches[1]; !slices.Equal(b.Lost, []int{3}) || !b.More {
			t.Errorf("the second one lost %v, more %v", b.Lost, b.More)
		}
		if b := f.last(); b.More || f.using("20.0.0.1/32") != "isp/main" {
			t.Errorf("at last it goes by %s, more %v", f.using("20.0.0.1/32"), b.More)
		}
	})
}

// TestAFailureBesideTheOtherFamilysTable: a link that fails while the IPv6 table is decided, behind IPv4's, leaves the ways of the
// IPv4 default in the same turn.
func TestAFailureBesideTheOtherFamilysTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(bfdSite, "neighbor: 192.0.2.6}", "neighbor: 192.0.2.6, address6: '2001:db8:2::2/64', neighbor6: '2001:db8:2::1'}", 1)+
			"steer: [{name: all, to: [4.0.0.0/8], use: [er]}]\n", Adopted{})
		defer f.end()
		f.engine.lot = 2
		f.engine.tables[at(route.IPv6)].table.Between(1, f.engine.hearUrgent)
		bothUp(f)
		isp, six := SessionKey{"isp/main", route.IPv4}, SessionKey{"er/secondary", route.IPv6}
		said := announce(isp, "198.18.1.1", "0.0.0.0/0")
		said.Updates[0].Attrs.Path = route.SequencePath(64601)
		f.tell(SessionUp{Key: isp, Ends: true}, said, SessionEndOfRIB{isp})
		to := func(metric uint32) bool {
			_, ok := f.routes[kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix("4.0.0.0/8"), Metric: metric}]
			return ok
		}
		if !to(kstate.MetricTier + 1) {
			t.Fatal("the rule has no way behind its first")
		}
		failed := false
		f.submitted = func() {
			if b := f.batches[len(f.batches)-1]; b.More && !failed {
				failed = true
				f.engine.Tell(f.ctx, CarrierChanged{Index: 4})
			}
		}
		u := route.Update{Family: route.IPv6, Attrs: &route.Attrs{Path: route.SequencePath(12076), NextHop: netip.MustParseAddr("2001:db8:2::1")}}
		for i := range byte(9) {
			u.Announced = append(u.Announced, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, 0, 0, i}), 32))
		}
		f.tell(SessionUp{Key: six, Ends: true}, SessionUpdates{six, []route.Update{u}}, SessionEndOfRIB{six})
		if !failed || to(kstate.MetricTier+1) {
			t.Errorf("failed %v, and the way by the dead link is still wanted: %v", failed, to(kstate.MetricTier+1))
		}
	})
}
