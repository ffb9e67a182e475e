package engine

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"bothways/internal/route"
)

func (f *fakes) findings() string {
	var out []string
	for _, x := range f.engine.Snapshot().Symmetry.Findings {
		out = append(out, x.Case+" "+x.Subject+": "+x.Text+": "+x.Reason)
	}
	return strings.Join(out, "\n")
}

// TestSymmetryOfWhatIsAnnounced judges the ways back by the sessions that stand, not by the file.
func TestSymmetryOfWhatIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		if got := f.findings(); got != "" {
			t.Errorf("a healthy site has findings:\n%s", got)
		}
		pools := f.engine.Snapshot().Symmetry.Pools
		if len(pools) != 1 || pools[0].Path != "er" || strings.Join(pools[0].Provider, " ") != "er" {
			t.Errorf("pools %+v", pools)
		}
		f.tell(SessionDown{Key: keyPrimary, Reason: "hold"})
		if got := f.findings(); got != "" {
			t.Errorf("the circuit's other session stands and announces:\n%s", got)
		}
		f.tell(SessionDown{Key: keySecondary, Reason: "hold"})
		if got := f.findings(); !strings.Contains(got, "A path er: pool 198.51.100.64/28 is not announced here") {
			t.Errorf("nobody announces the pool: %q", got)
		}
		if strings.Contains(f.journal(), "symmetry") {
			t.Errorf("that a path is down is told already:\n%s", f.journal())
		}
	})
}

// TestProviderDrains has the provider put its AS in front eight times on one link of the circuit.
func TestProviderDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site+"steer: []\n", Adopted{})
		defer f.end()
		bothUp(f)
		long := func(times int) SessionUpdates {
			u := announce(keyPrimary, "192.0.2.2", "4.0.0.0/8", "5.0.0.0/8")
			var path []uint32
			for range times {
				path = append(path, 12076)
			}
			u.Updates[0].Attrs = &route.Attrs{Path: route.SequencePath(path...), NextHop: netip.MustParseAddr("192.0.2.2")}
			return u
		}
		if got := f.using("4.0.0.1/32"); got != "er/primary er/secondary" {
			t.Fatal(got)
		}
		f.tell(long(9))
		if got := f.using("4.0.0.1/32"); got != "er/secondary" {
			t.Errorf("uses %s", got)
		}
		if got := f.findings(); !strings.Contains(got, "link er/primary: the provider drains it by a longer path: its maintenance begins soon; traffic has left it") {
			t.Errorf("findings: %q", got)
		}
		if !strings.Contains(f.journal(), "drain er/primary: the provider drains this link") {
			t.Errorf("no event:\n%s", f.journal())
		}
		f.tell(long(1))
		if got := f.findings(); got != "" || !strings.Contains(f.journal(), "drain er/primary: the provider no longer drains this link") {
			t.Errorf("it no longer drains: %q\n%s", got, f.journal())
		}
		leaving := long(1)
		leaving.Updates[0].Attrs.Communities = []route.Community{route.GracefulShutdown}
		f.tell(leaving)
		if got := f.using("4.0.0.1/32"); got != "er/secondary" {
			t.Errorf("shut down gracefully, and uses %s", got)
		}
		if got := f.findings(); !strings.Contains(got, "link er/primary: the provider drains it by a graceful shutdown: its maintenance begins soon; traffic has left it") {
			t.Errorf("findings: %q", got)
		}
	})
}
