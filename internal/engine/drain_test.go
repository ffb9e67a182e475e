package engine

import (
	"strings"
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		withISP := strings.Replace(site, "gateway: 198.18.1.1}", "neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24]", 1)
		f := start(t, withISP, Adopted{})
		defer f.end()
		bothUp(f)
		if err := f.engine.Drain(f.ctx, "er/primary", true, false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := f.using("4.1.1.1/32"); got != "er/secondary" {
			t.Errorf("primary drained, and 4.1.1.1 goes by %s", got)
		}
		hasRule := func() bool {
			for _, r := range f.last().Objects.Rules {
				if r.Family == route.IPv4 && r.Table == kstate.Table+1 {
					return true
				}
			}
			return false
		}
		if !hasRule() {
			t.Error("connections on the drained link do not stay there")
		}
		f.tell(CarrierChanged{Index: 3})
		if got := f.using("4.1.1.1/32"); got != "er/primary" {
			t.Errorf("only the drained link is left, and 4.1.1.1 goes by %q", got)
		}
		f.tell(CarrierChanged{Index: 3, Carrier: true})
		f.applied()
		f.flows = nil
		if err := f.engine.Drain(f.ctx, "er/primary", true, true); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.applied()
		if hasRule() {
			t.Error("connections still stick to the link that they shall leave")
		}
		f.wantFlows("connections move along", "list 1")
		if err := f.engine.Drain(f.ctx, "isp/main", true, false); err != nil {
			t.Fatal(err)
		}
		if err := f.engine.Drain(f.ctx, "er/primary", false, false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := f.using("4.1.1.1/32"); got != "er/primary er/secondary" {
			t.Errorf("undrained, and 4.1.1.1 goes by %s", got)
		}
		for _, s := range f.sessions {
			gshut := len(s.Announce[0].Communities) == 1 && s.Announce[0].Communities[0] == route.GracefulShutdown
			if gshut != (s.Key.Link == "isp/main") {
				t.Errorf("%s announces with communities %v", s.Key, s.Announce[0].Communities)
			}
		}
		if err := f.engine.Drain(f.ctx, "er/third", true, false); err == nil || !strings.Contains(err.Error(), "no link er/third") {
			t.Errorf("drain of a link that is not there: %v", err)
		}
	})
}

// TestReloadKeepsADrain: it is of the link that was named, by whichever interface that is now; and of one with another name.
func TestReloadKeepsADrain(t *testing.T) {
	for name, c := range map[string]struct{ text, drained string }{
		"another interface":                     {strings.Replace(site, "interface: er0", "interface: er2", 1), "er/primary"},
		"the other's":                           {strings.NewReplacer("er0, address: 192.0.2.1/30, neighbor: 192.0.2.2", "er1, address: 192.0.2.5/30, neighbor: 192.0.2.6", "er1, address: 192.0.2.5/30, neighbor: 192.0.2.6", "er0, address: 192.0.2.1/30, neighbor: 192.0.2.2").Replace(site), "er/primary"},
		"another name":                          {strings.Replace(site, "primary:", "first:", 1), "er/first"},
		"another's name":                        {strings.Replace(site, "      primary: {interface: er0", "      primary: {interface: er2, address: 192.0.2.9/30, neighbor: 192.0.2.10}\n      first: {interface: er0", 1), "er/primary"},
		"taken away, its interface the other's": {strings.Replace(strings.Replace(site, secondary, "", 1), "primary:", "secondary:", 1), ""},
		"taken away":                            {strings.Replace(site, "      primary: {interface: er0, address: 192.0.2.1/30, neighbor: 192.0.2.2}\n", "", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, site, Adopted{})
				defer f.end()
				if err := f.engine.Drain(f.ctx, "er/primary", true, true); err != nil {
					t.Fatal(err)
				}
				f.reload(c.text)
				for _, l := range f.engine.Snapshot().Links {
					if l.Drained != (l.Name == c.drained) || l.Moved != l.Drained {
						t.Errorf("%s: drained %v, moved %v", l.Name, l.Drained, l.Moved)
					}
				}
			})
		})
	}
}
