package engine

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/flow"
	"bothways/internal/proof"
	"bothways/internal/route"
)

// answer tells what came of the proofs that were sent since the last time: by is the index of the interface.
func (f *fakes) answer(by func(ProofParams) int) {
	sent := f.proving
	f.proving = nil
	for _, p := range sent {
		ev := Proved{Subject: p.Subject, Target: p.Target, Index: by(p), RTT: time.Millisecond}
		if ev.Index == 0 {
			ev.Why = "no reply in 1s"
		}
		f.tell(ev)
	}
}

func (f *fakes) verdict(link, address string) string {
	for _, p := range f.engine.Snapshot().Proofs {
		if p.Link == link && p.Address.String() == address {
			return p.Verdict.String() + ": " + p.Text
		}
	}
	return "no such proof"
}

const proving = "    prove: {every: 10s, addresses: 2, targets: [{icmp: 4.0.0.1}, {tcp: \"9.9.9.9:443\"}]}\n"

func TestProofs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, "    accept: [all]\n", "    accept: [all]\n"+proving, 1), Adopted{})
		defer f.end()
		bothUp(f)
		f.sleep(2 * time.Second)
		if len(f.proving) != 0 {
			t.Errorf("asked before the kernel translates: %+v", f.proving)
		}
		f.applied()
		pool, own := "198.51.100.64", "192.0.2.1"
		f.sleep(2 * time.Second)
		targets, tokens := map[string]bool{}, map[uint16]bool{}
		for _, p := range f.proving {
			if strings.HasPrefix(p.Link, "er/") {
				targets[p.Target.String()] = true
			}
			if p.Link == "er/primary" {
				tokens[p.Token] = true
				if p.Source.String() != own || p.Interface != "er0" || p.Mark != 1 {
					t.Errorf("sent by another link: %+v", p)
				}
			}
		}
		if len(targets) != 1 || !targets["icmp 4.0.0.1"] {
			t.Errorf("asked %v by the circuit, want only whom it has a route to", targets)
		}
		if len(tokens) != 3 {
			t.Errorf("%d tokens, want one for each of two addresses of the pool and one for the link's own", len(tokens))
		}
		index := map[string]int{"er/primary": 2, "er/secondary": 3, "isp/main": 4}
		f.answer(func(p ProofParams) int { return index[p.Link] })
		if got := f.verdict("er/primary", pool); got != "same path: icmp 4.0.0.1 answers by er/primary" {
			t.Error(got)
		}
		if strings.Contains(f.journal(), "proof") {
			t.Errorf("that all is well is no news:\n%s", f.journal())
		}

		// Replies come by the other link of the circuit: the path is the same.
		next := func(by func(ProofParams) int) {
			for range 5 {
				f.sleep(10 * time.Second)
				f.answer(by)
			}
		}
		next(func(p ProofParams) int { return 3 })
		if got := f.verdict("er/primary", pool); got != "same path: icmp 4.0.0.1 answers by er/secondary" {
			t.Error(got)
		}
		// By the Internet: case A.
		next(func(p ProofParams) int { return 4 })
		if got := f.verdict("er/primary", pool); !strings.HasPrefix(got, "other path: icmp 4.0.0.1 answers by isp/main: case A:") {
			t.Error(got)
		}
		if !strings.Contains(f.journal(), "proof er/primary: as 198.51.100.64: icmp 4.0.0.1 answers by isp/main: case A:") {
			t.Errorf("no event:\n%s", f.journal())
		}
		// The pool gets no reply, and the link's own address does.
		next(func(p ProofParams) int {
			if p.Address.String() == own {
				return 2
			}
			return 0
		})
		if got := f.verdict("er/primary", pool); !strings.Contains(got, "no reply: icmp 4.0.0.1: no reply in 1s: the way back to this address is missing, that to 192.0.2.1 is there") {
			t.Error(got)
		}
		// A dead link proves nothing.
		f.tell(CarrierChanged{Index: 2})
		f.sleep(20 * time.Second)
		if got := f.verdict("er/primary", pool); got != "unknown: the link is down" {
			t.Error(got)
		}
		for _, p := range f.proving {
			if p.Link == "er/primary" {
				t.Fatalf("a dead link is asked: %+v", p)
			}
		}
	})
}

// TestProofTargetsFromTraffic has nobody configured: who answered a connection is asked, unless a rule keeps it off the link.
func TestProofTargetsFromTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site+"steer: [{name: pin, to: [4.0.0.7/32], use: [isp], otherwise: drop}]\n", Adopted{})
		defer f.end()
		bothUp(f)
		f.applied()
		f.sleep(5 * time.Second)
		if len(f.proving) != 0 || !strings.Contains(f.verdict("er/primary", "198.51.100.64"), "nobody to ask") {
			t.Errorf("asked %+v; %s", f.proving, f.verdict("er/primary", "198.51.100.64"))
		}
		seen := func(dst string, answered bool) flow.Flow {
			return flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort(dst), Answered: answered}
		}
		f.tell(FlowsSampled{[]flow.Flow{seen("4.0.0.1:443", true), seen("4.0.0.7:443", true), seen("4.0.0.9:443", false), seen("9.9.9.9:25", true)}})
		f.sleep(5 * time.Second)
		asked := map[string]map[proof.Target]bool{}
		for _, p := range f.proving {
			path, _, _ := strings.Cut(p.Link, "/")
			if asked[path] == nil {
				asked[path] = map[proof.Target]bool{}
			}
			asked[path][p.Target] = true
		}
		want := proof.Target{Protocol: proof.TCP, Address: netip.MustParseAddr("4.0.0.1"), Port: 443}
		if len(asked["er"]) != 1 || !asked["er"][want] {
			t.Errorf("asked %v by the circuit", asked["er"])
		}
		if len(asked["isp"]) == 0 || asked["isp"][proof.Target{Protocol: proof.TCP, Address: netip.MustParseAddr("4.0.0.9"), Port: 443}] {
			t.Errorf("asked %v by the ISP", asked["isp"])
		}
	})
}

// TestHardFailback moves connections under a rule at once when a better path is back; those of no rule stay.
func TestHardFailback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site+"steer: [{name: backup, to: [4.0.0.0/8], use: [er, isp], failback: hard}]\n", Adopted{})
		defer f.end()
		bothUp(f)
		f.tell(CarrierChanged{Index: 2}, CarrierChanged{Index: 3})
		f.tell(SessionDown{Key: keyPrimary, Reason: "carrier"}, SessionDown{Key: keySecondary, Reason: "carrier"})
		f.applied()
		f.flows = nil
		f.tell(CarrierChanged{Index: 2, Carrier: true})
		f.applied()
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8", "5.0.0.0/8"), SessionEndOfRIB{keyPrimary})
		f.applied()
		f.flows = nil
		f.sleep(2 * sweepPause)
		f.applied()
		if got := strings.Join(f.flows, " "); !strings.Contains(got, "list 3") {
			t.Fatalf("the circuit announces again, and connections on the ISP are not looked at: %s", got)
		}
		on := func(dst string) flow.Flow {
			return flow.Flow{Family: route.IPv4, Protocol: 6, Source: netip.MustParseAddrPort("10.20.1.1:1000"), Destination: netip.MustParseAddrPort(dst), Link: 3}
		}
		f.flows = nil
		f.tell(FlowsListed{Mark: flow.Mark{Family: route.IPv4, Link: 3, Value: 3, Mask: 0xff}, Flows: []flow.Flow{on("4.0.0.1:443"), on("5.0.0.1:443")}})
		f.wantFlows("only what the rule covers moves", "delete 4.0.0.1:443")
	})
}
