package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/config"
)

func (f *fakes) found() []config.Finding { return f.engine.Snapshot().Findings }

func TestCapturedGatewayIsFoundUntilItIsPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		gateway := netip.MustParseAddr("4.0.0.7")
		speaks := Captured{"er", []netip.Addr{gateway}}
		f.tell(speaks)
		f.tell(speaks)
		const rule = "{name: vpn, to: [4.0.0.7/32], use: [isp], otherwise: drop}"
		got := f.found()
		if len(got) != 1 || got[0].Severity != config.SeverityWarning || got[0].Subject != "path er" || !strings.Contains(got[0].Text, rule) {
			t.Fatalf("found %+v, want the rule that helps", got)
		}
		told := 0
		for _, j := range f.engine.Snapshot().Journal {
			if j.Kind == "vpn" {
				told++
			}
		}
		if told != 1 {
			t.Errorf("told %d times", told)
		}
		pinned := site + "steer: [" + rule + "]\n"
		if err := f.engine.Reload(f.ctx, load(t, pinned)); err != nil {
			t.Fatal(err)
		}
		f.tell(speaks) // what was seen before the pin
		if got := f.found(); len(got) != 0 {
			t.Errorf("pinned, and still found: %+v", got)
		}
	})
}

func TestCapturedGatewayThatFallsSilentIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.tell(Captured{"er", []netip.Addr{netip.MustParseAddr("4.0.0.7")}})
		f.sleep(captureTime + 2*time.Second)
		if got := f.found(); len(got) != 0 {
			t.Errorf("nobody speaks any more, and still found: %+v", got)
		}
		if err := f.engine.Query(f.ctx, func(v *View) {
			for path, seen := range v.e.captured {
				if len(seen) > 0 {
					t.Errorf("%s: %v are kept", path, seen)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNewPinLooksAtItsConnectionsEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.flows = nil
		if err := f.engine.Reload(f.ctx, load(t, site+"steer: [{name: vpn, to: [4.0.0.7/32], use: [isp], otherwise: drop}]\n")); err != nil {
			t.Fatal(err)
		}
		f.applied()
		for _, want := range []string{"list 1", "list 2"} {
			if !slices.Contains(f.flows, want) {
				t.Errorf("asked %v, want %s: the address was reached by the circuit until now", f.flows, want)
			}
		}
	})
}

func TestPinThatIsRoutedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site+"steer: [{name: vpn, to: [4.0.0.7/32], use: [isp], otherwise: drop}]\n", Adopted{})
		defer f.end()
		a := netip.MustParseAddr("4.0.0.7")
		if !slices.Equal(f.pinned, []netip.Addr{a}) {
			t.Errorf("looked up: %v", f.pinned)
		}
		now := allUp()
		now.All = append(now.All, now.All[0])
		now.All[len(now.All)-1].Index, now.All[len(now.All)-1].Name = 9, "tun0"
		f.tell(now)
		for _, row := range []struct {
			index int
			bad   bool
		}{{4, false}, {0, false}, {9, true}, {4, false}} {
			f.tell(PinRouted{a, row.index})
			got := f.found()
			if row.bad != (len(got) == 1) || row.bad && (got[0].Severity != config.SeverityError || got[0].Subject != "steer vpn" || !strings.Contains(got[0].Text, "4.0.0.7 is routed into tun0")) {
				t.Errorf("by interface %d: found %+v", row.index, got)
			}
		}
	})
}
