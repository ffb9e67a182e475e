package engine

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/route"
	"bothways/internal/track"
)

// TestEveryCauseHasItsEvidence fails er/primary in each way, and looks at what the failover is timed from.
func TestEveryCauseHasItsEvidence(t *testing.T) {
	const tracking = "    track: {probes: [{icmp: 4.0.0.1}, {icmp: 4.0.0.2}, {icmp: 4.0.0.3}], every: 100ms, down-after: 2, up-after: 1, up-delay: 0s}\n"
	text := strings.Replace(bfdSite, "    accept: [all]\n", "    accept: [all]\n"+tracking, 1)
	type says struct {
		cause    Cause
		evidence SignKind
		phases   []string // before the decision
	}
	ms := time.Millisecond
	probe := func(f *fakes, target string, sent time.Time, ok bool) {
		r := track.ProbeResult{Target: "icmp " + target, OK: ok, Why: "no answer"}
		if ok {
			r.RTT = 5 * ms
		}
		f.tell(Probed{Key: keyPrimary, Result: r, Sent: sent})
	}
	for _, c := range []struct {
		name string
		fail func(f *fakes, now time.Time)
		want says
	}{
		{"bfd", func(f *fakes, now time.Time) {
			f.tell(BFDChanged{Key: keyPrimary, Why: "silence", Heard: now.Add(-153 * ms).Round(0)})
		}, says{CauseBFD, SignPacket, []string{"detected 153.0 ms"}}},
		{"bfd that heard nothing", func(f *fakes, now time.Time) {
			f.tell(BFDChanged{Key: keyPrimary, Why: "silence"})
		}, says{CauseBFD, "", nil}},
		{"carrier, looked at", func(f *fakes, now time.Time) {
			f.tell(CarrierChanged{Index: 2, At: now.Add(-1 * ms), Seen: now.Add(-9 * ms)})
		}, says{CauseCarrier, SignCarrier, []string{"detected 9.0 ms", "reported 1.0 ms"}}},
		{"carrier that nobody had looked at", func(f *fakes, now time.Time) {
			f.tell(CarrierChanged{Index: 2, At: now.Add(-1 * ms)})
		}, says{CauseCarrier, "", []string{"reported 1.0 ms"}}},
		{"interface that is gone", func(f *fakes, now time.Time) {
			all := allUp()
			all.All = slices.DeleteFunc(all.All, func(i kstate.Interface) bool { return i.Index == 2 })
			all.At, all.Seen = now.Add(-2*ms), map[int]time.Time{2: now.Add(-30 * ms)}
			f.tell(all)
		}, says{CauseCarrier, SignCarrier, []string{"detected 30.0 ms", "reported 2.0 ms"}}},
		{"neighbor", func(f *fakes, now time.Time) {
			hop := f.engine.cfg.Paths[0].Links[0].Neighbor(route.IPv4)
			f.tell(NeighborSeen{Index: 2, Address: hop, State: kstate.NeighborReachable, At: now, Confirmed: now.Add(-40 * ms)})
			time.Sleep(3 * time.Second)
			// The entry was made anew: what the kernel says of it is older than what was seen.
			f.tell(NeighborSeen{Index: 2, Address: hop, State: kstate.NeighborFailed, At: time.Now(), Confirmed: now.Add(-time.Minute)})
		}, says{CauseNeighbor, SignNeighbor, []string{"detected 3040.0 ms", "reported 0.0 ms"}}},
		{"neighbor that the kernel has heard since", func(f *fakes, now time.Time) {
			hop := f.engine.cfg.Paths[0].Links[0].Neighbor(route.IPv4)
			f.tell(NeighborSeen{Index: 2, Address: hop, State: kstate.NeighborReachable, At: now, Confirmed: now.Add(-40 * ms)})
			time.Sleep(3 * time.Second)
			f.tell(NeighborSeen{Index: 2, Address: hop, State: kstate.NeighborFailed, At: time.Now(), Confirmed: now.Add(500 * ms)})
		}, says{CauseNeighbor, SignNeighbor, []string{"detected 2500.0 ms", "reported 0.0 ms"}}},
		{"probes, one target of which goes on", func(f *fakes, now time.Time) {
			probe(f, "4.0.0.1", now, true)
			probe(f, "4.0.0.2", now.Add(-20*ms), true)
			time.Sleep(300 * ms)
			for range 2 {
				probe(f, "4.0.0.3", time.Now().Add(-10*ms), true)
				probe(f, "4.0.0.1", time.Now().Add(-100*ms), false)
				probe(f, "4.0.0.2", time.Now().Add(-100*ms), false)
			}
		}, says{CauseProbes, SignAnswer, []string{"detected 295.0 ms"}}},
		{"session, hold timer", func(f *fakes, now time.Time) {
			f.tell(SessionDown{Key: keyPrimary, Reason: "hold timer expired", Evidence: Sign{Kind: SignMessage, At: now.Add(-9 * time.Second)}})
		}, says{CauseSession, SignMessage, []string{"detected 9000.0 ms"}}},
		{"session that this side ended", func(f *fakes, now time.Time) {
			f.tell(SessionDown{Key: keyPrimary, Reason: "too many prefixes"})
		}, says{CauseSession, "", nil}},
		{"drain", func(f *fakes, now time.Time) {
			reply := make(chan error, 1)
			f.tell(Drain{Link: "er/primary", On: true, At: now.Add(-1 * ms), Reply: reply})
			if err := <-reply; err != nil {
				t.Error(err)
			}
		}, says{CauseDrain, SignCommand, []string{"detected 1.0 ms"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, text, Adopted{})
				defer f.end()
				bothUp(f)
				f.tell(BFDChanged{Key: keyPrimary, Up: true})
				f.tell(CarrierChanged{Index: 2, Carrier: true})
				f.applied()
				time.Sleep(time.Second)
				c.fail(f, time.Now())
				f.applied()
				all := entries(f, "failover")
				if len(all) != 1 {
					t.Fatalf("%d failovers, want one:\n%s", len(all), f.journal())
				}
				j := all[0]
				before := phasesOf(j)
				for i, p := range j.Phases {
					if p.Name == PhaseDecided {
						before = before[:i]
						break
					}
				}
				if got := (says{j.Cause, j.Evidence, before}); got.cause != c.want.cause || got.evidence != c.want.evidence || !slices.Equal(got.phases, c.want.phases) {
					t.Errorf("%+v, want %+v", got, c.want)
				}
				if c.want.evidence != "" && !strings.Contains(j.Text, string(c.want.evidence)+" ") {
					t.Errorf("%q does not say what it is timed from", j.Text)
				}
			})
		})
	}
}

// TestTheEndOfADeadLinksSessionIsNoFailover: nothing was left there to fail over.
func TestTheEndOfADeadLinksSessionIsNoFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startDetecting(t)
		defer f.end()
		f.tell(BFDChanged{Key: keyPrimary, Why: "silence"})
		f.applied()
		f.tell(SessionDown{Key: keyPrimary, Reason: "hold timer expired"})
		f.applied()
		if all := entries(f, "failover"); len(all) != 1 || all[0].Cause != CauseBFD {
			t.Errorf("failovers %+v", all)
		}
	})
}
