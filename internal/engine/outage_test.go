package engine

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/flow"
	"bothways/internal/route"
	"bothways/internal/track"
)

func entries(f *fakes, kind string) (out []JournalEntry) {
	for _, j := range f.engine.Snapshot().Journal {
		if j.Kind == kind {
			out = append(out, j)
		}
	}
	return out
}

func phasesOf(j JournalEntry) (out []string) {
	for _, p := range j.Phases {
		out = append(out, p.Name+" "+milliseconds(p.After))
	}
	return out
}

// bfdSite has BFD on a circuit's link, and an ISP with a session.
var bfdSite = strings.NewReplacer("neighbor: 192.0.2.2}", "neighbor: 192.0.2.2, bfd: true}",
	"gateway: 198.18.1.1}", "neighbor: 198.18.1.1, asn: 64601}\n    announce: [203.0.113.0/24]").Replace(site)

// startDetecting starts an engine on bfdSite whose sessions have said everything, with BFD up and all of it in the kernel.
func startDetecting(t *testing.T) *fakes {
	t.Helper()
	f := start(t, bfdSite, Adopted{})
	bothUp(f)
	f.tell(BFDChanged{Key: keyPrimary, Up: true})
	f.applied()
	return f
}

// TestOutageCountsFromTheLastPacket has BFD's evidence in the event: what it heard last is not what the engine saw.
func TestOutageCountsFromTheLastPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startDetecting(t)
		defer f.end()
		time.Sleep(time.Second)
		now := time.Now()
		// As the BFD process tells it: without this process's monotonic clock.
		f.tell(BFDChanged{Key: keyPrimary, Why: "nothing from the neighbor in 150ms", Heard: now.Add(-153 * time.Millisecond).Round(0)})
		f.tell(Applied{Sequence: f.last().Sequence, At: now.Add(4 * time.Millisecond)})
		got := entries(f, "failover")
		if len(got) != 1 {
			t.Fatalf("journal:\n%s", f.journal())
		}
		if want := []string{"detected 153.0 ms", "decided 0.0 ms", "kernel 4.0 ms"}; !slices.Equal(phasesOf(got[0])[:3], want) {
			t.Errorf("phases %v, want %v", phasesOf(got[0]), want)
		}
	})
}

// TestFailoverIsAFunction says what is told of what was noted.
func TestFailoverIsAFunction(t *testing.T) {
	seen := time.UnixMilli(1_000_000)
	after := func(ms float64) time.Time { return seen.Add(time.Duration(ms * float64(time.Millisecond))) }
	for _, c := range []struct {
		name string
		o    outage
		at   time.Time
		want []string
		text string
	}{
		{"groups and routes", outage{seen: seen, evidence: Sign{SignPacket, after(-153), time.Time{}}, decided: after(0.2), first: 7, last: 8, written: after(2.5)}, after(30),
			[]string{"detected 153.0 ms", "decided 0.2 ms", "kernel 2.5 ms", "routes 30.0 ms"},
			"kernel written 2.5 ms after it was seen, decided after 0.2 ms, routes after 30.0 ms; last bfd packet 153.0 ms before"},
		{"groups alone, no evidence", outage{seen: seen, decided: after(0.2), first: 7, last: 7, written: after(2.5)}, after(2.5),
			[]string{"decided 0.2 ms", "kernel 2.5 ms"}, "kernel written 2.5 ms after it was seen, decided after 0.2 ms"},
		{"a clock that was set", outage{seen: seen, evidence: Sign{SignPacket, after(5), time.Time{}}, decided: after(0), first: 7, last: 7, written: after(1)}, after(1),
			[]string{"detected 0.0 ms", "decided 0.0 ms", "kernel 1.0 ms"}, ""},
		{"a report that was read", outage{seen: seen, evidence: Sign{SignCarrier, after(-8), after(-0.3)}, decided: after(0.2), first: 7, last: 7, written: after(1)}, after(1),
			[]string{"detected 8.0 ms", "reported 0.3 ms", "decided 0.2 ms", "kernel 1.0 ms"},
			"kernel written 1.0 ms after it was seen, decided after 0.2 ms; last look with a carrier 8.0 ms before"},
		{"a report alone", outage{seen: seen, evidence: Sign{SignCarrier, time.Time{}, after(-0.3)}, decided: after(0.2), first: 7, last: 7, written: after(1)}, after(1),
			[]string{"reported 0.3 ms", "decided 0.2 ms", "kernel 1.0 ms"}, "kernel written 1.0 ms after it was seen, decided after 0.2 ms"},
	} {
		j := c.o.failover(c.at)
		if got := phasesOf(j); !slices.Equal(got, c.want) || c.text != "" && j.Text != c.text {
			t.Errorf("%s: %v %q, want %v %q", c.name, got, j.Text, c.want, c.text)
		}
	}
}

// TestAnnouncementsOfAFailoverAreTimed has the drain of an ISP's link change what is announced there.
func TestAnnouncementsOfAFailoverAreTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		isp := SessionKey{"isp/main", route.IPv4}
		f := start(t, strings.Replace(bfdSite, "    announce: [203", "    preference: 200\n    announce: [203", 1), Adopted{})
		defer f.end()
		bothUp(f)
		said := announce(isp, "198.18.1.1", "0.0.0.0/0", "4.0.0.0/8")
		said.Updates[0].Attrs.Path = route.SequencePath(64601)
		f.tell(SessionUp{Key: isp, Ends: true}, said, SessionEndOfRIB{isp}, SessionAnnounced{isp, time.Now(), 1})
		f.applied()
		drain := func(on bool) {
			if err := f.engine.Drain(f.ctx, "isp/main", on, false); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			f.applied()
		}
		time.Sleep(time.Second)
		now := time.Now()
		drain(true)
		// Written before that: the first announcements, told of late.
		f.tell(SessionAnnounced{isp, now.Add(-time.Millisecond), 1}, SessionAnnounced{keyPrimary, now.Add(time.Millisecond), 1})
		if n := len(entries(f, "announcements")); n != 0 {
			t.Errorf("%d entries before anything was written", n)
		}
		f.tell(SessionAnnounced{isp, now.Add(3 * time.Millisecond), 1}, SessionAnnounced{isp, now.Add(9 * time.Millisecond), 1})
		got := entries(f, "announcements")
		if len(got) != 1 || !slices.Equal(phasesOf(got[0]), []string{"announcements 3.0 ms"}) || got[0].Subject != "isp/main drained" {
			t.Errorf("%+v\n%s", got, f.journal())
		}
		if n := len(entries(f, "failover")); n != 1 {
			t.Errorf("%d failovers, want that of the drain", n)
		}
		// The end of a drain is no failover; a session that ends has nothing to say any more.
		drain(false)
		f.tell(SessionAnnounced{isp, time.Now(), 1})
		drain(true)
		f.tell(SessionDown{Key: isp, Reason: "test"}, SessionAnnounced{isp, time.Now(), 1})
		if n := len(entries(f, "announcements")); n != 1 {
			t.Errorf("%d entries:\n%s", n, f.journal())
		}
	})
}

// TestLostOfTheStream counts the probes that were sent between the last answer by the old way and the first by the new one.
func TestLostOfTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tracking = "    track: {probes: [{icmp: 4.0.0.1}], every: 100ms, down-after: 3, up-after: 1, up-delay: 0s}\n"
		text := strings.Replace(bfdSite, "    accept: [all]\n", "    accept: [all]\n"+tracking, 1)
		f := start(t, text, Adopted{})
		defer f.end()
		bothUp(f)
		f.tell(BFDChanged{Key: keyPrimary, Up: true})
		f.applied()
		base := time.Now()
		time.Sleep(time.Second)
		ms := func(n int) time.Time { return base.Add(time.Duration(n) * time.Millisecond) }
		probe := func(k SessionKey, sent int, ok bool) {
			r := track.ProbeResult{Target: "icmp 4.0.0.1", OK: ok, Why: "no answer"}
			if ok {
				r.RTT = 5 * time.Millisecond
			}
			f.tell(Probed{Key: k, Result: r, Sent: ms(sent)})
		}
		probe(keyPrimary, 700, true)
		probe(keySecondary, 700, true)
		probe(keyPrimary, 800, false) // lost, and told of before the failure was seen
		f.tell(BFDChanged{Key: keyPrimary, Why: "nothing from the neighbor in 150ms", Heard: ms(790)})
		probe(keySecondary, 900, true) // the kernel is not written yet
		f.tell(Applied{Sequence: f.last().Sequence, At: ms(1010)})
		probe(keyPrimary, 900, false)
		probe(keySecondary, 1005, true) // sent before it was written
		probe(keySecondary, 1100, true) // the first by another way, at 1105
		probe(keyPrimary, 1000, false)
		probe(keyPrimary, 1100, false)
		probe(keyPrimary, 1106, false) // behind the end
		if n := len(entries(f, "lost")); n != 0 {
			t.Errorf("told before all that was sent has been given up: %s", f.journal())
		}
		f.sleep(time.Minute)
		got := entries(f, "lost")
		if len(got) != 1 || got[0].Lost == nil || *got[0].Lost != (track.Lost{Probes: 4}) || !slices.Equal(phasesOf(got[0]), []string{"answered 105.0 ms"}) {
			t.Fatalf("%+v\n%s", got, f.journal())
		}
		if want := "4 probes sent by er/primary and not answered, between its last answer and the first by er/secondary, which came after 105.0 ms"; got[0].Text != want {
			t.Errorf("%q, want %q", got[0].Text, want)
		}
	})
}

// TestOutageIsTimed has each phase of a failover told: the last sign of life, groups, routes, connections.
func TestOutageIsTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probed := strings.Replace(site, "    accept: [all]\n", "    accept: [all]\n    track: {probes: [{icmp: 4.0.0.1}], every: 100ms, down-after: 3, up-after: 1, up-delay: 0s}\n", 1)
		f := start(t, probed, Adopted{})
		defer f.end()
		bothUp(f)
		result := func(ok bool) Probed {
			return Probed{Key: keyPrimary, Result: track.ProbeResult{Target: "icmp 4.0.0.1", OK: ok, Why: "no answer"}}
		}
		f.tell(result(true))
		f.applied()
		for range 3 {
			time.Sleep(100 * time.Millisecond)
			f.tell(result(false))
		}
		seen := time.Now()
		f.mu.Lock()
		batches := slices.Clone(f.batches)
		f.mu.Unlock()
		f.tell(Applied{Sequence: batches[len(batches)-1].Sequence, At: seen.Add(2 * time.Millisecond)})
		f.tell(FlowsCut{flow.Mark{Family: route.IPv4, Link: 1}, 7, seen.Add(3500 * time.Microsecond)})
		for _, want := range []string{
			"failover er/primary probes down: kernel written 2.0 ms after it was seen",
			"; last probe answer 300.0 ms before",
			"flows er/primary: 7 connections cut: their addresses do not exist on the ways that they would go now, 3.5 ms after er/primary probes down was seen",
		} {
			if !strings.Contains(f.journal(), want) {
				t.Errorf("no %q in\n%s", want, f.journal())
			}
		}
		for _, j := range f.engine.Snapshot().Journal {
			if j.Kind == "failover" && (len(j.Phases) < 2 || j.Phases[0] != Phase{"detected", 300 * time.Millisecond}) {
				t.Errorf("phases %+v", j.Phases)
			}
		}
	})
}

// TestOutageThatChangesNothing is not put down to a batch that comes much later.
func TestOutageThatChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.tell(CarrierChanged{Index: 2})
		f.applied()
		f.tell(SessionDown{Key: keyPrimary, Reason: "no carrier"})
		f.applied()
		f.tell(SessionUp{Key: keyPrimary, Ends: true})
		f.tell(SessionDown{Key: keyPrimary, Reason: "again"})
		time.Sleep(time.Hour)
		f.tell(CarrierChanged{Index: 2, Carrier: true})
		f.applied()
		if strings.Contains(f.journal(), "3600000") {
			t.Errorf("an outage of an hour:\n%s", f.journal())
		}
	})
}

// TestOutageWithoutRoutes: routes that change later, before the kernel has the groups, are not put down to an outage that moved none.
func TestOutageWithoutRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startDetecting(t)
		defer f.end()
		f.tell(BFDChanged{Key: keyPrimary, Why: "nothing from the neighbor in 150ms"})
		if b := f.last(); len(b.Routes) > 0 {
			t.Fatalf("the outage moves %d routes", len(b.Routes))
		}
		written := Applied{Sequence: f.last().Sequence, At: time.Now().Add(time.Millisecond)}
		time.Sleep(time.Second)
		f.tell(announce(keySecondary, "192.0.2.6", "6.0.0.0/8"))
		f.tell(written)
		got := entries(f, "failover")
		if len(got) != 1 || !slices.Equal(phasesOf(got[0]), []string{"decided 0.0 ms", "kernel 1.0 ms"}) {
			t.Errorf("%+v", got)
		}
	})
}

// TestAFlappingLinkHidesNoFailover: each is told of, however many there are in a short time.
func TestAFlappingLinkHidesNoFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, bfdSite, Adopted{})
		defer f.end()
		bothUp(f)
		const flaps = maxOutages + 1
		for range flaps {
			f.tell(BFDChanged{Key: keyPrimary, Up: true})
			f.applied()
			f.tell(BFDChanged{Key: keyPrimary, Why: "nothing from the neighbor in 150ms"})
			f.applied()
			time.Sleep(time.Second)
		}
		f.tell(CarrierChanged{Index: 3})
		f.applied()
		if got := entries(f, "failover"); len(got) != flaps+1 || got[flaps].Subject != "er/secondary carrier down" {
			t.Errorf("%d failovers:\n%s", len(got), f.journal())
		}
	})
}
