package engine

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/flow"
	"bothways/internal/route"
	"bothways/internal/track"
)

func familyOf(f *fakes, link string) LinkFamilyView {
	f.t.Helper()
	for _, l := range f.engine.Snapshot().Links {
		if l.Name == link {
			return l.Families[0]
		}
	}
	f.t.Fatalf("no link %s", link)
	return LinkFamilyView{}
}

// TestWhatIsMeasuredIsPublished although nothing changes by it, and not more often than once a second.
func TestWhatIsMeasuredIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tracking = "    track: {probes: [{icmp: 4.0.0.1}], every: 100ms}\n"
		f := start(t, strings.Replace(site, "    accept: [all]\n", "    accept: [all]\n"+tracking, 1), Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.sleep(time.Minute)
		published := map[*Snapshot]bool{}
		for i := range 50 {
			f.tell(Probed{Key: keyPrimary, Result: track.ProbeResult{Target: "icmp 4.0.0.1", OK: true, RTT: time.Duration(i+1) * time.Millisecond}, Sent: time.Now()})
			published[f.engine.Snapshot()] = true
			f.sleep(100 * time.Millisecond)
		}
		f.sleep(publishEvery)
		if n := len(published); n > 6 {
			t.Errorf("published %d times in 5 s", n)
		}
		if got := familyOf(f, "er/primary").Probes.Targets()[0].RTT; got != 50*time.Millisecond {
			t.Errorf("round trip %s, want that of the last answer", got)
		}
	})
}

// TestUnansweredConnectionsAreCounted: of those from inside, when the list is whole.
func TestUnansweredConnectionsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.surveyed()
		open := func(source string, answered bool) flow.Flow {
			return flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort("9.9.9.9:443"), Link: 3, Answered: answered}
		}
		mark := flow.Mark{Family: route.IPv4, Link: 3, Value: 3, Mask: 0xff, Counted: true}
		f.tell(FlowsListed{Mark: mark, Flows: []flow.Flow{open("10.20.1.1:1000", false)}, More: true})
		f.tell(FlowsListed{Mark: mark, Flows: []flow.Flow{open("10.20.1.1:1001", false), open("10.20.1.1:1002", true), open("198.18.1.2:1003", false)}})
		at := time.Now()
		f.sleep(publishEvery)
		if v := familyOf(f, "isp/main"); v.Unanswered != 2 || !v.Surveyed.Equal(at) {
			t.Errorf("%d unanswered at %v, want 2 at %v", v.Unanswered, v.Surveyed, at)
		}
		f.tell(FlowsListed{Mark: mark})
		f.sleep(publishEvery)
		if v := familyOf(f, "isp/main"); v.Unanswered != 0 {
			t.Errorf("%d unanswered of none", v.Unanswered)
		}
		if v := familyOf(f, "er/primary"); !v.Surveyed.IsZero() {
			t.Errorf("a link without a list was surveyed at %v", v.Surveyed)
		}
	})
}
