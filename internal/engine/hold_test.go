package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/policy"
	"bothways/internal/route"
)

// holding is a site whose circuit's first link has this key.
func holding(value string) string {
	return strings.Replace(site, "neighbor: 192.0.2.2}", "neighbor: 192.0.2.2, hold-last-good: "+value+"}", 1)
}

func withdraw(k SessionKey, list ...string) SessionUpdates {
	u := route.Update{Family: route.IPv4}
	for _, p := range list {
		u.Withdrawn = append(u.Withdrawn, netip.MustParsePrefix(p))
	}
	return SessionUpdates{Key: k, Updates: []route.Update{u}}
}

func (f *fakes) held(link string) int {
	for _, l := range f.engine.Snapshot().Links {
		if l.Name == link {
			return l.Families[0].Held
		}
	}
	return -1
}

// ten are prefixes of the circuit's first link only.
func ten() (out []string) {
	for i := range 10 {
		out = append(out, fmt.Sprintf("20.%d.0.0/16", i))
	}
	return out
}

func TestSuddenShrinkIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("5m"), Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.tell(withdraw(keyPrimary, ten()[:4]...))
		if f.using("20.0.0.1/32") != "isp/main" || f.held("er/primary") != 0 {
			t.Errorf("four of ten are taken back, and 20.0.0.1 goes by %s, %d held", f.using("20.0.0.1/32"), f.held("er/primary"))
		}
		time.Sleep(time.Second)
		f.tell(withdraw(keyPrimary, ten()[4:6]...))
		for _, dst := range []string{"20.0.0.1/32", "20.5.0.1/32", "20.9.0.1/32"} {
			if f.using(dst) != "er/primary" {
				t.Errorf("six of ten within a second, and %s goes by %s", dst, f.using(dst))
			}
		}
		if f.held("er/primary") != 6 || !strings.Contains(f.journal(), "hold er/primary: the neighbor took back 6 of 10 prefixes at once: they are held for 5m0s") {
			t.Errorf("%d held:\n%s", f.held("er/primary"), f.journal())
		}
		f.tell(withdraw(keyPrimary, ten()[6:]...), announce(keyPrimary, "192.0.2.2", ten()[:1]...))
		if f.held("er/primary") != 9 || f.using("20.9.0.1/32") != "er/primary" {
			t.Errorf("%d held, 20.9.0.1 goes by %s", f.held("er/primary"), f.using("20.9.0.1/32"))
		}
		f.sleep(5 * time.Minute)
		if f.using("20.0.0.1/32") != "er/primary" || f.using("20.9.0.1/32") != "isp/main" || f.held("er/primary") != 0 {
			t.Errorf("the time is over: 20.0.0.1 goes by %s, 20.9.0.1 by %s, %d held", f.using("20.0.0.1/32"), f.using("20.9.0.1/32"), f.held("er/primary"))
		}
	})
}

func TestHeldIsAnnouncedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("{for: 5m, share: 80, then: keep}"), Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.tell(withdraw(keyPrimary, ten()...))
		f.sleep(time.Hour)
		if f.held("er/primary") != 10 || f.using("20.0.0.1/32") != "er/primary" {
			t.Errorf("%d held, goes by %s; want all kept", f.held("er/primary"), f.using("20.0.0.1/32"))
		}
		f.tell(announce(keyPrimary, "192.0.2.2", ten()...))
		if f.held("er/primary") != 0 || !strings.Contains(f.journal(), "all that was held is announced again") {
			t.Errorf("%d held:\n%s", f.held("er/primary"), f.journal())
		}
		f.tell(withdraw(keyPrimary, ten()...))
		f.tell(SessionDown{Key: keyPrimary, Reason: "hold time"})
		if f.held("er/primary") != 0 || f.using("20.0.0.1/32") != "isp/main" {
			t.Errorf("the session is gone, and what was held is not: goes by %s", f.using("20.0.0.1/32"))
		}
	})
}

// TestRefreshThatSaysLess has a neighbor say a third of what it said before in its answer to a refresh.
func TestRefreshThatSaysLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("5m"), Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.tell(SessionRefresh{keyPrimary, true}, announce(keyPrimary, "192.0.2.2", ten()[:3]...), SessionRefresh{keyPrimary, false})
		if f.using("20.9.0.1/32") != "er/primary" || f.held("er/primary") != 7 {
			t.Errorf("goes by %s, %d held", f.using("20.9.0.1/32"), f.held("er/primary"))
		}
		f.sleep(5*time.Minute + time.Second)
		if f.using("20.9.0.1/32") != "isp/main" || f.using("20.1.0.1/32") != "er/primary" || f.held("er/primary") != 0 {
			t.Errorf("the time is over: 20.9.0.1 goes by %s, 20.1.0.1 by %s", f.using("20.9.0.1/32"), f.using("20.1.0.1/32"))
		}
	})
}

// TestRefreshThatSaysLessIsKept: the time that a refresh may take ends no hold, and what ends it ends the refresh.
func TestRefreshThatSaysLessIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("{for: 5m, share: 50, then: keep}")+"steer: [{name: all, from: [10.20.9.0/24], to: [learned/er], use: [isp]}]\n", Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.sleep(2 * learnedPause)
		f.tell(SessionRefresh{keyPrimary, true}, announce(keyPrimary, "192.0.2.2", ten()[:3]...), SessionRefresh{keyPrimary, false})
		f.sleep(refreshTime + time.Second)
		if f.using("20.9.0.1/32") != "er/primary" || f.held("er/primary") != 7 {
			t.Errorf("goes by %s, %d held", f.using("20.9.0.1/32"), f.held("er/primary"))
		}
		f.tell(announce(keyPrimary, "192.0.2.2", append(ten()[3:], "30.0.0.0/8")...))
		f.sleep(2 * learnedPause)
		if f.held("er/primary") != 0 || !strings.Contains(f.saved, "30.0.0.0/8") {
			t.Errorf("%d held, learned %s", f.held("er/primary"), f.saved)
		}
	})
}

// TestHeldUntilItsEnd: a neighbor that ends its table once more, or says the same small one in a refresh, cuts no hold short.
func TestHeldUntilItsEnd(t *testing.T) {
	little := announce(keyPrimary, "192.0.2.2", ten()[:3]...)
	for name, again := range map[string][]Event{
		"a second end":              {SessionEndOfRIB{keyPrimary}},
		"a refresh":                 {SessionRefresh{keyPrimary, true}, little, SessionRefresh{keyPrimary, false}},
		"a refresh without its end": {SessionRefresh{keyPrimary, true}, little},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, holding("10m"), Adopted{})
				defer f.end()
				f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
				f.tell(SessionDown{Key: keyPrimary, Reason: "lost", Stale: true, StaleUntil: time.Now().Add(time.Minute)},
					SessionUp{Key: keyPrimary, Ends: true, Preserved: true}, little, SessionEndOfRIB{keyPrimary})
				f.tell(again...)
				f.sleep(refreshTime + time.Second)
				if f.held("er/primary") != 7 || f.using("20.9.0.1/32") != "er/primary" {
					t.Errorf("%d held, 20.9.0.1 goes by %s", f.held("er/primary"), f.using("20.9.0.1/32"))
				}
				f.sleep(4 * time.Minute)
				if f.held("er/primary") != 0 || f.using("20.9.0.1/32") != "isp/main" || f.using("20.1.0.1/32") != "er/primary" {
					t.Errorf("the time is over: %d held, 20.9.0.1 goes by %s", f.held("er/primary"), f.using("20.9.0.1/32"))
				}
			})
		})
	}
}

// TestRefreshWhileHeld: in a refresh the neighbor says nothing of what it took back, and that is still held after it.
func TestRefreshWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("5m"), Adopted{})
		defer f.end()
		more := many()[:20]
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.tell(withdraw(keyPrimary, ten()[:8]...), announce(keyPrimary, "192.0.2.2", more...))
		f.tell(SessionRefresh{keyPrimary, true}, announce(keyPrimary, "192.0.2.2", append(ten()[8:], more...)...), SessionRefresh{keyPrimary, false})
		if f.held("er/primary") != 8 || f.using("20.3.0.1/32") != "er/primary" {
			t.Errorf("%d held, 20.3.0.1 goes by %s", f.held("er/primary"), f.using("20.3.0.1/32"))
		}
		f.sleep(5*time.Minute + time.Second)
		if f.held("er/primary") != 0 || f.using("20.3.0.1/32") != "isp/main" {
			t.Errorf("the time is over: %d held, 20.3.0.1 goes by %s", f.held("er/primary"), f.using("20.3.0.1/32"))
		}
	})
}

// TestLostForwardingIsNotHeld: a neighbor that restarts and lost what it forwards by (RFC 4724) has nothing that could be held.
func TestLostForwardingIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("5m"), Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.tell(SessionDown{Key: keyPrimary, Reason: "lost", Stale: true, StaleUntil: time.Now().Add(time.Minute)}, SessionUp{Key: keyPrimary, Ends: true})
		if f.using("20.9.0.1/32") != "isp/main" || f.held("er/primary") != 0 {
			t.Errorf("goes by %s, %d held", f.using("20.9.0.1/32"), f.held("er/primary"))
		}
	})
}

// TestReloadEndsAHold takes the key away while routes are held: what the neighbor announces again stays.
func TestReloadEndsAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("5m"), Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.tell(withdraw(keyPrimary, ten()[:8]...))
		if f.held("er/primary") != 8 {
			t.Fatalf("%d held", f.held("er/primary"))
		}
		if err := f.engine.Reload(f.ctx, load(t, site)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if f.held("er/primary") != 0 || f.using("20.0.0.1/32") != "isp/main" {
			t.Errorf("no hold is asked for any more: %d held, 20.0.0.1 goes by %s", f.held("er/primary"), f.using("20.0.0.1/32"))
		}
		f.tell(announce(keyPrimary, "192.0.2.2", ten()...))
		f.sleep(10 * time.Minute)
		if f.using("20.0.0.1/32") != "er/primary" {
			t.Errorf("announced again, and goes by %s", f.using("20.0.0.1/32"))
		}
	})
}

// TestReloadOfAHold: what is held, also what is stale, follows the configuration from then on.
func TestReloadOfAHold(t *testing.T) {
	const keep = "{for: 5m, share: 50, then: keep}"
	for name, shrink := range map[string][]Event{
		"taken back":     {withdraw(keyPrimary, ten()[3:]...)},
		"not said again": {SessionRefresh{keyPrimary, true}, announce(keyPrimary, "192.0.2.2", ten()[:3]...), SessionRefresh{keyPrimary, false}},
	} {
		for _, c := range []struct {
			before, after string
			want          [3]int // held at once, and after 6 and 20 minutes
		}{
			{holding(keep), site, [3]int{}},
			{holding(keep), holding("10m"), [3]int{7, 7, 0}},
			{holding("5m"), holding(keep), [3]int{7, 7, 7}},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := start(t, c.before, Adopted{})
					defer f.end()
					f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
					f.tell(shrink...)
					f.reload(c.after)
					for i, pause := range []time.Duration{0, 6 * time.Minute, 14 * time.Minute} {
						f.sleep(pause)
						want := map[bool]string{true: "er/primary", false: "isp/main"}[c.want[i] > 0]
						if f.held("er/primary") != c.want[i] || f.using("20.9.0.1/32") != want || f.using("20.1.0.1/32") != "er/primary" {
							t.Errorf("%d: %d held, want %d; 20.9.0.1 goes by %s", i, f.held("er/primary"), c.want[i], f.using("20.9.0.1/32"))
						}
					}
				})
			})
		}
	}
}

// TestHeldIsNotCountedAgainstTheNeighbor replaces all prefixes by others within the limit.
func TestHeldIsNotCountedAgainstTheNeighbor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, holding("5m, max-prefixes: 12"), Adopted{})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", ten()...), SessionEndOfRIB{keyPrimary})
		f.tell(withdraw(keyPrimary, ten()...))
		f.tell(announce(keyPrimary, "192.0.2.2", "30.0.0.0/8", "31.0.0.0/8", "32.0.0.0/8"))
		if len(f.refused) != 0 || f.using("32.0.0.1/32") != "er/primary" {
			t.Errorf("refused %v, 32.0.0.1 goes by %s", f.refused, f.using("32.0.0.1/32"))
		}
	})
}

// TestForgetLost keeps what was taken back within the window, also where a prefix went, came back and went again.
func TestForgetLost(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(1000+int64(seconds), 0) }
	a, b := netip.MustParsePrefix("4.0.0.0/8"), netip.MustParsePrefix("5.0.0.0/8")
	later := int(policy.HoldWindow/time.Second) + 1
	s := sessionState{
		lost:  map[netip.Prefix]lost{a: {at: at(2)}, b: {at: at(1)}},
		order: []lostAt{{at(0), a}, {at(1), b}, {at(2), a}},
	}
	s.forgetLost(at(later))
	if len(s.lost) != 2 || len(s.order) != 2 {
		t.Errorf("the first loss of a is over, not the second: %v, %v", s.lost, s.order)
	}
	s.forgetLost(at(1 + later))
	if _, ok := s.lost[b]; ok || len(s.lost) != 1 {
		t.Errorf("b is not forgotten: %v", s.lost)
	}
	s.forgetLost(at(2 + later))
	if len(s.lost) != 0 || len(s.order) != 0 {
		t.Errorf("left: %v, %v", s.lost, s.order)
	}
}
