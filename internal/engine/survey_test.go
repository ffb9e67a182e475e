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

// surveyed advances to the survey that follows a change, and forgets what was asked until then.
func (f *fakes) surveyed() {
	f.sleep(surveyPause + time.Millisecond)
}

func (f *fakes) connections() []string {
	var out []string
	for _, j := range f.engine.Snapshot().Journal {
		if j.Kind == "connections" {
			out = append(out, j.Subject+": "+j.Text)
		}
	}
	return out
}

func (f *fakes) astray(link string) Astray {
	for _, l := range f.engine.Snapshot().Links {
		if l.Name == link {
			return l.Families[0].Astray
		}
	}
	f.t.Fatalf("no link %s", link)
	return Astray{}
}

func TestSurveyFindsWhatStaysAfterAFailback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		flowTo := func(source, destination string) flow.Flow {
			return flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort(destination), Link: 3}
		}
		list := []flow.Flow{
			flowTo("10.20.1.1:1000", "4.0.0.1:443"), flowTo("10.20.1.1:1001", "4.0.0.2:443"),
			flowTo("10.20.1.1:1002", "9.9.9.9:443"),  // not reached by the circuit: it is where it belongs
			flowTo("198.18.1.2:1003", "4.0.0.1:443"), // the edge's own
			flowTo("4.0.0.9:1004", "198.18.1.2:22"),  // opened from outside
		}
		mark := flow.Mark{Family: route.IPv4, Link: 3, Value: 3, Mask: 0xff}
		f.surveyed()
		f.flows = nil
		f.tell(CarrierChanged{Index: 2})
		f.tell(CarrierChanged{Index: 2, Carrier: true})
		f.applied()
		f.flows = nil
		f.surveyed()
		for _, want := range []string{"list 1", "list 2", "list 3"} {
			if !slices.Contains(f.flows, want) {
				t.Errorf("the survey asks %v, want %s among it", f.flows, want)
			}
		}
		// The list comes in parts.
		f.tell(FlowsListed{Mark: mark, Flows: list[:1], More: true})
		if a := f.astray("isp/main"); a != (Astray{}) {
			t.Errorf("half a list was taken for the whole: %+v", a)
		}
		f.tell(FlowsListed{Mark: mark, Flows: list[1:]})
		if a := f.astray("isp/main"); a != (Astray{Staying: 2}) {
			t.Errorf("astray: %+v, want 2 that stay", a)
		}
		want := []string{"isp/main: 2 connections stay here, new ones to the same addresses go by er/primary, er/secondary"}
		if got := f.connections(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		// It is looked at again while there are some, without telling the same again, and said when they have ended.
		f.flows = nil
		f.sleep(surveyEvery)
		if !slices.Contains(f.flows, "list 3") {
			t.Errorf("not surveyed again: %v", f.flows)
		}
		f.tell(FlowsListed{Mark: mark, Flows: list[:1]})
		if a := f.astray("isp/main"); a.Staying != 1 || len(f.connections()) != 1 {
			t.Errorf("astray %+v, told %q", a, f.connections())
		}
		f.tell(FlowsListed{Mark: mark})
		if got := f.connections(); f.astray("isp/main") != (Astray{}) || len(got) != 2 || !strings.HasSuffix(got[1], "none of the connections is left") {
			t.Errorf("told %q", got)
		}
		time.Sleep(surveyEvery) // one was still to come
		synctest.Wait()
		f.flows = nil
		f.sleep(2 * surveyEvery)
		f.wantFlows("nothing is astray")
	})
}

// TestSurveyGoesOnWithoutAList asks again although the one who lists connections said nothing.
func TestSurveyGoesOnWithoutAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.surveyed()
		one := flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort("4.0.0.1:443"), Link: 3}
		f.tell(FlowsListed{Mark: flow.Mark{Family: route.IPv4, Link: 3, Value: 3, Mask: 0xff}, Flows: []flow.Flow{one}})
		for i := range 3 {
			f.flows = nil
			f.sleep(surveyEvery)
			if !slices.Contains(f.flows, "list 3") {
				t.Errorf("survey %d: asked %v", i, f.flows)
			}
		}
	})
}

func TestSurveyFindsWhatIsStranded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.surveyed()
		for _, index := range []int{2, 3, 4} {
			f.tell(CarrierChanged{Index: index})
		}
		f.applied()
		f.surveyed()
		mark := flow.Mark{Family: route.IPv4, Link: 3, Value: 3, Mask: 0xff}
		one := flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort("9.9.9.9:443"), Link: 3}
		f.tell(FlowsListed{Mark: mark, Flows: []flow.Flow{one}})
		if a := f.astray("isp/main"); a != (Astray{Stranded: 1}) {
			t.Errorf("astray: %+v, want 1 that is stranded", a)
		}
		want := []string{"isp/main: 1 connection has the addresses of this dead link and nowhere else to go: it waits for it"}
		if got := f.connections(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

// TestSurveyOnlyCounts has a survey meet connections that a move would cut: it counts, and nothing is done to them.
func TestSurveyOnlyCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		f.applied()
		f.flows = nil
		x := flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort("4.0.0.1:443"), Link: 1}
		f.tell(FlowsListed{Mark: flow.Mark{Family: route.IPv4, Link: 1, Value: 1, Mask: 0xff, Counted: true}, Flows: []flow.Flow{x}})
		f.wantFlows("the circuit does not reach it (yet), and it was only to be counted")
	})
}

// TestNoSurveyWhileHeld: after a restart neighbors that have not said everything cannot be judged by.
func TestNoSurveyWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{Routes: 5})
		defer f.end()
		f.flows = nil
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, SessionEndOfRIB{keyPrimary})
		f.sleep(5 * surveyPause)
		f.wantFlows("the other neighbor has not said everything")
	})
}
