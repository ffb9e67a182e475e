package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/route"
)

// together tells events that one turn takes.
func (f *fakes) together(events ...Event) {
	gate, done := make(chan struct{}), make(chan struct{})
	f.engine.Tell(f.ctx, Ask{func(*View) { <-gate }, done})
	synctest.Wait()
	for _, e := range events {
		f.engine.Tell(f.ctx, e)
	}
	close(gate)
	synctest.Wait()
}

// many are prefixes for some lots.
func many() (out []string) {
	for i := range 4 * lotSize {
		out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24).String())
	}
	return out
}

// TestWithdrawnBeforeTheEnd: a neighbor takes back what was taken into the table already, and says no more than that.
func TestWithdrawnBeforeTheEnd(t *testing.T) {
	for name, end := range map[string]func(f *fakes){
		"with End-of-RIB": func(f *fakes) { f.tell(SessionEndOfRIB{keyPrimary}) },
		"after a while":   func(f *fakes) { f.sleep(stageTime + time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, site, Adopted{})
				defer f.end()
				f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"))
				f.sleep(stagePause + time.Millisecond)
				if got := f.using("4.1.1.1/32"); got != "er/primary" {
					t.Fatalf("goes by %s", got)
				}
				f.tell(withdraw(keyPrimary, "4.0.0.0/8"))
				end(f)
				if got := f.using("4.1.1.1/32"); got != "isp/main" {
					t.Errorf("withdrawn, and goes by %s", got)
				}
			})
		})
	}
}

// TestLotsKeepAFailover: while the routes of a session that ended are taken out lot by lot, no group goes back to its link, and no
// connection sticks to it.
func TestLotsKeepAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", many()...), SessionEndOfRIB{keyPrimary},
			SessionUp{Key: keySecondary, Ends: true}, announce(keySecondary, "192.0.2.6", many()...), SessionEndOfRIB{keySecondary})
		both := f.routes[kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix("20.0.0.0/24"), Metric: kstate.MetricRanking}].Nexthop
		before := len(f.batches)
		f.tell(SessionDown{Key: keyPrimary, Reason: "test"})
		batches := f.batches[before:]
		if len(batches) < 4 {
			t.Fatalf("%d batches", len(batches))
		}
		dead := kstate.Member{ID: kstate.LinkNexthop(f.engine.linkNamed("er/primary").number, route.IPv4), Weight: 1}
		sticks := func(r kstate.Rule) bool {
			return r.Sticks() && r.Table == kstate.Table+uint32(f.engine.linkNamed("er/primary").number)
		}
		if !slices.ContainsFunc(f.batches[before-1].Objects.Rules, sticks) {
			t.Error("connections do not stick to a living link")
		}
		for i, b := range batches {
			for _, n := range b.Objects.Nexthops {
				if n.ID == both && slices.Contains(n.Members, dead) {
					t.Errorf("batch %d of %d wants %s", i, len(batches), n)
				}
			}
			if slices.ContainsFunc(b.Objects.Rules, sticks) {
				t.Errorf("batch %d of %d: connections stick to the link", i, len(batches))
			}
			if quick, last := i == 0, i == len(batches)-1; b.More != (!quick && !last) {
				t.Errorf("batch %d of %d: more %v", i, len(batches), b.More)
			}
		}
	})
}

// TestLotsEnd: also where a lot was all, something comes that waits for no more.
func TestLotsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		// The links' tables have the same changes; without them the last lot would be all.
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", many()...), SessionEndOfRIB{keyPrimary})
		if f.last().More || f.engine.sent.more {
			t.Error("the reconciler waits for more")
		}
		f.engine.sent.more = true
		n := len(f.batches)
		f.tell(Happened{})
		if len(f.batches) != n+1 || f.last().More {
			t.Errorf("nothing ends the wait: %d batches", len(f.batches)-n)
		}
	})
}

// fullWith reports whether routes are known by the time that everything else is deleted.
func (f *fakes) fullWith(prefix string) bool {
	key := kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix(prefix), Metric: kstate.MetricRanking}
	for _, b := range f.batches {
		for _, c := range b.Routes {
			if c.Route.RouteKey == key && !c.Delete {
				return true
			}
		}
		if b.Mode == plan.Full {
			return false
		}
	}
	return false
}

// TestRestartIsFullWithEverything: what the last neighbor said is wanted before what it does not want is deleted.
func TestRestartIsFullWithEverything(t *testing.T) {
	t.Run("a link dies with the last End-of-RIB", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, site, Adopted{Routes: 5})
			defer f.end()
			f.tell(SessionUp{Key: keyPrimary, Ends: true}, SessionUp{Key: keySecondary, Ends: true}, SessionEndOfRIB{keySecondary})
			f.together(announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"), SessionEndOfRIB{keyPrimary}, CarrierChanged{Index: 3})
			if f.last().Mode != plan.Full || !f.fullWith("4.0.0.0/8") {
				t.Errorf("mode %s, before 4.0.0.0/8 was wanted", f.last().Mode)
			}
		})
	})
	t.Run("another is in the middle of its table", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, site, Adopted{Routes: 5})
			defer f.end()
			f.tell(NeighborSeen{Index: 3, Address: netip.MustParseAddr("192.0.2.6"), State: kstate.NeighborFailed})
			f.tell(SessionUp{Key: keyPrimary, Ends: true}, SessionUp{Key: keySecondary, Ends: true}, announce(keySecondary, "192.0.2.6", "5.0.0.0/8"))
			f.tell(announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"), SessionEndOfRIB{keyPrimary})
			if f.last().Mode != plan.Full || !f.fullWith("4.0.0.0/8") {
				t.Errorf("mode %s, before 4.0.0.0/8 was wanted", f.last().Mode)
			}
		})
	})
}

// TestSuddenShrinkWhileOthersSpeak: a table that waits for another's is held as well.
func TestSuddenShrinkWhileOthersSpeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("5m"), Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keySecondary, Ends: true}, announce(keySecondary, "192.0.2.6", "4.0.0.0/8"))
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.tell(withdraw(keyPrimary, ten()[:8]...))
		f.sleep(stageTime + time.Millisecond)
		if f.using("20.0.0.1/32") != "er/primary" || f.held("er/primary") != 8 {
			t.Errorf("goes by %s, %d held", f.using("20.0.0.1/32"), f.held("er/primary"))
		}
	})
}

// TestALateTableIsTakenWhole: a neighbor that begins long after its session came up, when nothing was waited for any more, says a
// table like any other: what comes before its end is not decided.
func TestALateTableIsTakenWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary})
		f.sleep(quietTime + time.Second)
		f.tell(announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"), announce(keyPrimary, "192.0.2.2", "5.0.0.0/8"))
		if f.has("4.0.0.0/8") {
			t.Error("the beginning of a table is decided at once")
		}
		f.sleep(stagePause + time.Millisecond)
		if !f.has("4.0.0.0/8") || !f.has("5.0.0.0/8") {
			t.Error("it has ended, and is not taken")
		}
		f.tell(announce(keyPrimary, "192.0.2.2", "6.0.0.0/8"))
		if !f.has("6.0.0.0/8") {
			t.Error("what comes after the table waits")
		}
	})
}

// TestAnotherEndLeavesALateTable: such a table is also left whole where another neighbor's table ends meanwhile by its silence.
func TestAnotherEndLeavesALateTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary})
		f.sleep(quietTime + time.Second)
		f.tell(SessionUp{Key: keySecondary}, announce(keySecondary, "192.0.2.6", "7.0.0.0/8"))
		f.sleep(quietTime - 10*time.Millisecond)
		f.tell(announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"))
		f.sleep(20 * time.Millisecond)
		if f.has("4.0.0.0/8") {
			t.Error("the beginning of a table is decided with another's end")
		}
		f.tell(announce(keyPrimary, "192.0.2.2", "5.0.0.0/8"))
		if f.has("5.0.0.0/8") {
			t.Error("and the rest as it comes")
		}
		f.sleep(stagePause + time.Millisecond)
		for _, p := range []string{"4.0.0.0/8", "5.0.0.0/8", "7.0.0.0/8"} {
			if !f.has(p) {
				t.Errorf("%s is not taken", p)
			}
		}
	})
}

// TestAnEndThatNeverComes: a neighbor that would end its table, and does not, is not waited for without an end; one that restarts has
// the time that its stale routes have.
func TestAnEndThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"))
		f.sleep(adoptTime + time.Second)
		f.tell(announce(keyPrimary, "192.0.2.2", "5.0.0.0/8"))
		if !f.has("5.0.0.0/8") {
			t.Error("what it says long after its table still waits for the end of that")
		}
		f.tell(SessionDown{Key: keyPrimary, Stale: true, StaleUntil: time.Now().Add(time.Minute)}, SessionUp{Key: keyPrimary, Ends: true, Preserved: true},
			announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"))
		f.sleep(adoptTime + time.Second)
		if !f.has("5.0.0.0/8") {
			t.Error("what is stale went with a silence")
		}
		f.sleep(refreshTime)
		if f.has("5.0.0.0/8") {
			t.Error("what is stale stays")
		}
	})
}

// TestInterfacesLeaveATable: a table goes on being taken whole where the interfaces are listed meanwhile, which they are whenever
// something about one of them changes.
func TestInterfacesLeaveATable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"), allUp())
		if f.has("4.0.0.0/8") {
			t.Error("the beginning of a table is decided with the interfaces")
		}
		f.tell(announce(keyPrimary, "192.0.2.2", "5.0.0.0/8"), SessionEndOfRIB{keyPrimary})
		if !f.has("4.0.0.0/8") || !f.has("5.0.0.0/8") {
			t.Error("it has ended, and is not taken")
		}
	})
}

// TestAReloadLeavesATable: so it is where the configuration is replaced meanwhile, and the table is judged by the new one.
func TestAReloadLeavesATable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8", "5.0.0.0/8"))
		f.reload(strings.Replace(site, "accept: [all]", "accept: [4.0.0.0/8, 6.0.0.0/8]", 1))
		if f.has("4.0.0.0/8") {
			t.Error("the beginning of a table is decided with a reload")
		}
		f.tell(announce(keyPrimary, "192.0.2.2", "6.0.0.0/8"), SessionEndOfRIB{keyPrimary})
		if !f.has("4.0.0.0/8") || !f.has("6.0.0.0/8") || f.has("5.0.0.0/8") {
			t.Error("it has ended, and is not taken as the new configuration says")
		}
	})
}
