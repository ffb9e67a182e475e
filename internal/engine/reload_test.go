package engine

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/config"
	"bothways/internal/kstate"
	"bothways/internal/route"
)

const secondary = "      secondary: {interface: er1, address: 192.0.2.5/30, neighbor: 192.0.2.6}\n"

func (f *fakes) reload(text string) {
	f.t.Helper()
	if err := f.engine.Reload(f.ctx, load(f.t, text)); err != nil {
		f.t.Fatal(err)
	}
	synctest.Wait()
}

// TestReloadNeverSendsGroupsWithoutTheirRoutes: the groups of a rebuilt table have new names, and the reconciler would take
// the old ones away with the routes on them.
func TestReloadNeverSendsGroupsWithoutTheirRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, secondary, "", 1), Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"), SessionEndOfRIB{keyPrimary})
		n := len(f.batches)
		f.reload(site)
		f.reload(strings.Replace(site, secondary, "", 1))
		for _, b := range f.batches[n:] {
			if !b.Replace && len(b.Routes) == 0 && len(b.Objects.Nexthops) > 0 {
				t.Errorf("batch %d replaces groups alone", b.Sequence)
			}
		}
	})
}

func TestNothingUndoesAWithdrawal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		reply := make(chan struct{})
		f.tell(Withdraw{reply}, CarrierChanged{Index: 2}, SessionDown{Key: keySecondary, Reason: "test"})
		if b := f.last(); len(b.Objects.Nexthops)+len(b.Objects.Rules) != 0 {
			t.Errorf("after the withdrawal still wanted: %+v", b.Objects)
		}
	})
}

func TestRestartsInARowDoNotKeepRoutesForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		down := func() {
			f.tell(SessionDown{Key: keyPrimary, Reason: "lost", Stale: true, StaleUntil: time.Now().Add(time.Minute)})
		}
		down()
		f.tell(SessionUp{Key: keyPrimary, Preserved: true, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"))
		down()
		if got := f.using("4.1.1.1/32"); got != "er/primary er/secondary" {
			t.Errorf("announced in between, and 4.0.0.0/8 goes by %s", got)
		}
		if got := f.using("5.1.1.1/32"); got != "er/secondary" {
			t.Errorf("stale at the second loss already, and 5.0.0.0/8 goes by %s", got)
		}
	})
}

func TestStaticAndBGPByReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		speaks := strings.Replace(site, "gateway: 198.18.1.1", "neighbor: 198.18.1.1, asn: 64601", 1)
		f.reload(speaks)
		if got := f.using("9.9.9.9/32"); got != "" {
			t.Errorf("the gateway became a neighbor that said nothing yet, and 9.9.9.9 goes by %s", got)
		}
		key := SessionKey{"isp/main", route.IPv4}
		f.tell(SessionUp{Key: key, Ends: true}, SessionUpdates{key, []route.Update{{Family: route.IPv4,
			Announced: []netip.Prefix{netip.MustParsePrefix("9.0.0.0/8")},
			Attrs:     &route.Attrs{Path: route.SequencePath(64601), NextHop: netip.MustParseAddr("198.18.1.1")}}}})
		f.reload(site)
		f.tell(SessionDown{Key: key, Reason: "deconfigured"})
		if got := f.using("9.9.9.9/32"); got != "isp/main" {
			t.Errorf("the neighbor became a gateway, and 9.9.9.9 goes by %q", got)
		}
		if f.has("9.0.0.0/8") {
			t.Error("what the neighbor said is still there")
		}
	})
}

// TestStaticByReloadWithTheEndOfItsSession: the default that a link has by the new configuration is not taken out with what its
// neighbor said.
func TestStaticByReloadWithTheEndOfItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, "gateway: 198.18.1.1", "neighbor: 198.18.1.1, asn: 64601", 1), Adopted{})
		defer f.end()
		key := SessionKey{"isp/main", route.IPv4}
		f.tell(SessionUp{Key: key, Ends: true}, SessionEndOfRIB{key})
		f.together(SessionDown{Key: key, Reason: "test"}, Reload{load(t, site), make(chan error, 1)})
		if got := f.using("9.9.9.9/32"); got != "isp/main" {
			t.Errorf("9.9.9.9 goes by %q", got)
		}
	})
}

func TestAutomaticGatewayIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, "address: 198.18.1.2/30, gateway: 198.18.1.1", "address: auto, gateway: auto", 1), Adopted{})
		defer f.end()
		gateway := func(a string) {
			now := allUp()
			now.Gateways = map[int]Gateways{4: {{Default: true, Address: netip.MustParseAddr(a)}}}
			f.tell(now)
		}
		gateway("198.18.1.1")
		if w := f.watched[2]; len(w.Neighbors) != 1 || w.Neighbors[0].String() != "198.18.1.1" {
			t.Fatalf("watched: %+v", w)
		}
		f.tell(NeighborSeen{Index: 4, Address: netip.MustParseAddr("198.18.1.1"), State: kstate.NeighborFailed})
		if u := f.engine.Snapshot().Links[2].Families[0].Usable; u {
			t.Error("a silent gateway leaves the link usable")
		}
		gateway("198.18.1.9")
		if w := f.watched[2]; len(w.Neighbors) != 1 || w.Neighbors[0].String() != "198.18.1.9" {
			t.Errorf("watched: %+v", w)
		}
		if u := f.engine.Snapshot().Links[2].Families[0].Usable; !u {
			t.Error("a new gateway is dead for what the old one did")
		}
	})
}

func TestPointToPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, "address: 198.18.1.2/30, gateway: 198.18.1.1", "address: auto, gateway: auto", 1), Adopted{})
		defer f.end()
		now := allUp()
		now.Gateways = map[int]Gateways{4: {{Default: true}}}
		f.tell(now)
		if got := f.using("9.9.9.9/32"); got != "isp/main" {
			t.Errorf("a default without a gateway, and 9.9.9.9 goes by %q", got)
		}
		if w := f.watched[2]; len(w.Neighbors) != 0 {
			t.Errorf("asks for neighbors %v where there are none", w.Neighbors)
		}
	})
}

func TestOldReadingDoesNotUndoACarrierLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		read := allUp()
		read.At = time.Now()
		time.Sleep(time.Millisecond)
		f.tell(CarrierChanged{Index: 2}, read)
		if got := f.using("4.1.1.1/32"); got != "er/secondary" {
			t.Errorf("a reading from before the loss came after it, and 4.1.1.1 goes by %s", got)
		}
	})
}

func TestNumbersOfLinks(t *testing.T) {
	c := load(t, site)
	if got := numberLinks(allLinks(c), map[string]route.Link{"wan0": 255, "er0": 1, "gone": 2}, 254); got["wan0"] == 255 || got["er0"] != 1 || got["er1"] == 2 {
		t.Errorf("numbers %v: 255 is the mark of a rule, and 2 may still be on connections of another interface", got)
	}
	if got := orphans(map[string]route.Link{"er0": 1, "gone": 2}, map[string]route.Link{"er0": 1}); len(got) != 1 || got[0] != 2 {
		t.Errorf("orphans %v", got)
	}
	many := make([]config.Link, 3)
	for i := range many {
		many[i].Interface = string(rune('a' + i))
	}
	if got := numberLinks(many, map[string]route.Link{"x": 1, "y": 2}, 3); got["a"] != 3 || got["b"] == 0 || got["c"] == 0 {
		t.Errorf("when there are no others left, numbers are used again: %v", got)
	}
}

func TestDamagedLearned(t *testing.T) {
	for _, text := range []string{`{`, `{"er": ["10.0.0.1/8"]}`, `{"er": [""]}`, `[]`} {
		if _, err := ParseLearned([]byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
	l, err := ParseLearned(Learned{"er": {netip.MustParsePrefix("4.0.0.0/8")}}.Bytes())
	if err != nil || len(l["er"]) != 1 {
		t.Errorf("what was written is read as %v (%v)", l, err)
	}
}

func TestRaisedLimitAsksForWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := strings.Replace(site, "neighbor: 192.0.2.2", "neighbor: 192.0.2.2, max-prefixes: {count: 1, then: block}", 1)
		f := start(t, limited, Adopted{})
		defer f.end()
		bothUp(f)
		f.paused = nil
		f.reload(limited)
		if len(f.paused) != 0 {
			t.Errorf("the same limit again: %v", f.paused)
		}
		f.reload(strings.Replace(limited, "count: 1", "count: 9", 1))
		if len(f.paused) != 1 || f.paused[0] != "refresh er/primary" {
			t.Errorf("a raised limit: %v", f.paused)
		}
	})
}

// TestAReplyIsInTheSnapshot has what was asked for come in one turn with much else.
func TestAReplyIsInTheSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		for i := range 100 {
			before := f.engine.Snapshot().Sequence
			reply := make(chan error) // taken in the instant in which it is given
			f.engine.Tell(f.ctx, Drain{Link: "er/primary", On: i%2 == 0, Reply: reply})
			if err := <-reply; err != nil {
				t.Fatal(err)
			}
			if now := f.engine.Snapshot(); now.Sequence == before {
				t.Fatalf("drain %d was confirmed and the snapshot is of before", i)
			}
			synctest.Wait()
		}
	})
}
