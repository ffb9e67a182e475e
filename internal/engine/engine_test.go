package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/config"
	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/route"
)

const site = `site: s
asn: 65010
router-id: 203.0.113.1
inside: {interfaces: [lan0], networks: [10.20.0.0/16]}
paths:
  er:
    provider: azure
    peering: microsoft
    links:
      primary: {interface: er0, address: 192.0.2.1/30, neighbor: 192.0.2.2}
      secondary: {interface: er1, address: 192.0.2.5/30, neighbor: 192.0.2.6}
    accept: [all]
    announce: [198.51.100.64/28]
    nat: {10.20.0.0/16: 198.51.100.64/28}
  isp:
    provider: internet
    links:
      main: {interface: wan0, address: 198.18.1.2/30, gateway: 198.18.1.1}
    nat: {10.20.0.0/16: interface}
`

// fakes are the outside: a speaker that remembers, and a kernel that takes everything.
type fakes struct {
	t        *testing.T
	engine   *Engine
	sessions []SessionParams
	refused  []SessionKey
	paused   []string
	saved    string
	detected []DetectParams
	probing  []ProbeLink
	proving  []ProofParams
	batches  []plan.Batch
	// submitted is called with every batch.
	submitted func()
	watched   []Watched
	pinned    []netip.Addr
	flows     []string   // requests about connections
	mu        sync.Mutex // orders what timers of the engine write after what the test reads
	routes    map[kstate.RouteKey]kstate.Route
	ctx       context.Context
	end       func()
}

func (f *fakes) Configure(s []SessionParams)                   { f.sessions = s }
func (f *fakes) Refuse(k SessionKey, retryAfter time.Duration) { f.refused = append(f.refused, k) }
func (f *fakes) Pause(k SessionKey, reason string) {
	f.paused = append(f.paused, "pause "+k.String()+": "+reason)
}
func (f *fakes) Resume(k SessionKey)    { f.paused = append(f.paused, "resume "+k.String()) }
func (f *fakes) Refresh(k SessionKey)   { f.paused = append(f.paused, "refresh "+k.String()) }
func (f *fakes) Flush(m flow.Mark)      { f.flow("flush %d", m.Value) }
func (f *fakes) Sample(flow.Mark, int)  {}
func (f *fakes) Use(m flow.Mark, n int) { f.flow("use %d", m.Value) }
func (f *fakes) Prove(p ProofParams) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.proving = append(f.proving, p)
}

// flow writes down a request about connections.
func (f *fakes) flow(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flows = append(f.flows, fmt.Sprintf(format, args...))
}

// sleep lets time pass, in which timers of the engine may write down what the test has read before, and reads after.
func (f *fakes) sleep(d time.Duration) {
	f.order()
	time.Sleep(d)
	synctest.Wait()
	f.order()
}

// order puts what the test did before what the engine does later, and the other way round.
func (f *fakes) order() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.flows)
}

func (f *fakes) List(m flow.Mark) { f.flow("list %d", m.Value) }
func (f *fakes) Delete(m flow.Mark, flows []flow.Flow) {
	for _, x := range flows {
		f.flow("delete %s", x.Destination)
	}
}
func (f *fakes) Detect(d []DetectParams)  { f.detected = d }
func (f *fakes) Probe(p []ProbeLink)      { f.probing = p }
func (f *fakes) Save(data []byte)         { f.saved = string(data) }
func (f *fakes) Set(w []Watched)          { f.watched = w }
func (f *fakes) Pin(a []netip.Addr)       { f.pinned = a }
func (*fakes) Room() []kstate.RouteChange { return nil }

func (f *fakes) Submit(b plan.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, b)
	if f.submitted != nil {
		f.submitted()
	}
	if b.Replace {
		clear(f.routes)
	}
	for _, c := range b.Routes {
		if c.Delete {
			delete(f.routes, c.Route.RouteKey)
		} else {
			f.routes[c.Route.RouteKey] = c.Route
		}
	}
}

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse(strings.NewReader(text), "f.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func allUp() Interfaces {
	net := netip.MustParsePrefix
	return Interfaces{All: []kstate.Interface{
		{Index: 1, Name: "lan0", AdminUp: true, Carrier: true, Addresses: []netip.Prefix{net("10.20.0.1/16")}},
		{Index: 2, Name: "er0", AdminUp: true, Carrier: true, Addresses: []netip.Prefix{net("192.0.2.1/30")}},
		{Index: 3, Name: "er1", AdminUp: true, Carrier: true, Addresses: []netip.Prefix{net("192.0.2.5/30")}},
		{Index: 4, Name: "wan0", AdminUp: true, Carrier: true, Addresses: []netip.Prefix{net("198.18.1.2/30")}},
	}}
}

func start(t *testing.T, text string, found Adopted) *fakes {
	t.Helper()
	f := &fakes{t: t, routes: map[kstate.RouteKey]kstate.Route{}}
	f.engine = New(load(t, text), found, allUp(), Deps{Speaker: f, Kernel: f, Watch: f, Flows: f, Store: f, BFD: f, Probes: f, Proofs: f, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.engine.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	f.ctx, f.end = ctx, func() { cancel(); <-done }
	synctest.Wait()
	return f
}

func (f *fakes) tell(events ...Event) {
	for _, e := range events {
		f.engine.Tell(f.ctx, e)
	}
	synctest.Wait()
}

func (f *fakes) last() plan.Batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.batches[len(f.batches)-1]
}

func (f *fakes) has(prefix string) bool {
	_, ok := f.routes[kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix(prefix), Metric: kstate.MetricRanking}]
	return ok
}

// using says by which links a destination goes now.
func (f *fakes) using(dst string) string {
	out := ""
	if err := f.engine.Query(f.ctx, func(v *View) {
		out = strings.Join(v.Answer(netip.MustParsePrefix(dst)).Using, " ")
	}); err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *fakes) journal() string {
	var out []string
	for _, j := range f.engine.Snapshot().Journal {
		out = append(out, fmt.Sprintf("%s %s: %s", j.Kind, j.Subject, j.Text))
	}
	return strings.Join(out, "\n")
}

var (
	keyPrimary   = SessionKey{"er/primary", route.IPv4}
	keySecondary = SessionKey{"er/secondary", route.IPv4}
)

func announce(k SessionKey, hop string, list ...string) SessionUpdates {
	u := route.Update{Family: route.IPv4, Attrs: &route.Attrs{Path: route.SequencePath(12076), NextHop: netip.MustParseAddr(hop)}}
	for _, p := range list {
		u.Announced = append(u.Announced, netip.MustParsePrefix(p))
	}
	return SessionUpdates{Key: k, Updates: []route.Update{u}}
}

func bothUp(f *fakes) {
	f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8", "5.0.0.0/8"), SessionEndOfRIB{keyPrimary},
		SessionUp{Key: keySecondary, Ends: true}, announce(keySecondary, "192.0.2.6", "4.0.0.0/8", "5.0.0.0/8"), SessionEndOfRIB{keySecondary})
}

func TestFromSessionsToKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		if len(f.sessions) != 2 || len(f.sessions[0].Announce) != 1 || len(f.watched) != 3 {
			t.Fatalf("sessions %+v, watched %+v", f.sessions, f.watched)
		}
		if !f.has("0.0.0.0/0") || f.using("9.9.9.9/32") != "isp/main" {
			t.Error("no static default before any session is up")
		}
		bothUp(f)
		if !f.has("4.0.0.0/8") || f.using("4.1.1.1/32") != "er/primary er/secondary" {
			t.Errorf("4.1.1.1 goes by %s", f.using("4.1.1.1/32"))
		}
		if f.batches[0].Ruleset == nil {
			t.Error("no nftables table")
		}
		n := len(f.batches)
		f.tell(Applied{Sequence: f.last().Sequence, At: time.Now()}, allUp())
		if len(f.batches) != n {
			t.Errorf("nothing changed, and yet %+v", f.last())
		}
	})
}

func TestFailureMovesGroupsBeforeRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.tell(SessionDown{Key: keySecondary, Reason: "test"})
		n := len(f.batches)
		f.tell(SessionDown{Key: keyPrimary, Reason: "test"})
		if len(f.batches) != n+2 || len(f.batches[n].Routes) != 0 || len(f.batches[n+1].Routes) == 0 {
			t.Fatalf("want a batch of groups, then one of routes: %+v", f.batches[n:])
		}
		if f.has("4.0.0.0/8") || f.using("4.1.1.1/32") != "isp/main" {
			t.Errorf("4.1.1.1 goes by %s", f.using("4.1.1.1/32"))
		}
		f.tell(Applied{Sequence: f.last().Sequence, At: time.Now()})
		if !strings.Contains(f.journal(), "failover er/primary session down: kernel written") {
			t.Errorf("journal:\n%s", f.journal())
		}
	})
}

func TestCarrierLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.paused = nil
		before := len(f.batches)
		f.tell(CarrierChanged{Index: 2})
		// The first batch is the failover: what the rest of the turn finds comes behind it.
		if lost := f.batches[before].Lost; !slices.Equal(lost, []int{2}) || f.using("4.1.1.1/32") != "er/secondary" {
			t.Errorf("lost %v, 4.1.1.1 goes by %s", lost, f.using("4.1.1.1/32"))
		}
		for _, n := range f.last().Objects.Nexthops {
			if n.Interface == 2 {
				t.Errorf("wants %s on an interface without carrier", n)
			}
		}
		if slices.ContainsFunc(f.last().Objects.Rules, func(r kstate.Rule) bool { return r.Mark == 1 && r.Family == route.IPv4 }) {
			t.Error("marks of the dead link are still sent to its table")
		}
		f.tell(CarrierChanged{Index: 2, Carrier: true})
		if f.using("4.1.1.1/32") != "er/primary er/secondary" {
			t.Errorf("healed, and 4.1.1.1 goes by %s", f.using("4.1.1.1/32"))
		}
		if want := []string{"pause er/primary: no carrier", "resume er/primary"}; !slices.Equal(f.paused, want) {
			t.Errorf("sessions: %v, want %v", f.paused, want)
		}
	})
}

func TestNeighborTrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		seen := func(index int, a string, s kstate.NeighborState) {
			f.tell(NeighborSeen{Index: index, Address: netip.MustParseAddr(a), State: s})
		}
		seen(2, "192.0.2.9", kstate.NeighborFailed) // not the link's neighbor
		seen(3, "192.0.2.6", kstate.NeighborUnknown)
		if f.using("4.1.1.1/32") != "er/primary er/secondary" {
			t.Errorf("without evidence 4.1.1.1 goes by %s", f.using("4.1.1.1/32"))
		}
		seen(2, "192.0.2.2", kstate.NeighborFailed)
		if f.using("4.1.1.1/32") != "er/secondary" {
			t.Errorf("primary silent: 4.1.1.1 goes by %s", f.using("4.1.1.1/32"))
		}
		seen(2, "192.0.2.2", kstate.NeighborReachable)
		if f.using("4.1.1.1/32") != "er/primary er/secondary" {
			t.Errorf("healed: 4.1.1.1 goes by %s", f.using("4.1.1.1/32"))
		}
	})
}

func TestRestartHoldsUntilTheLastEndOfRIB(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{Routes: 5, Numbers: map[string]route.Link{"wan0": 1, "er0": 7}})
		defer f.end()
		if f.last().Mode != plan.Hold || !f.sessions[0].Restarting {
			t.Fatalf("mode %s, restarting %v", f.last().Mode, f.sessions[0].Restarting)
		}
		for _, l := range f.engine.Snapshot().Links {
			if want := map[string]route.Link{"er/primary": 7, "er/secondary": 2, "isp/main": 1}[l.Name]; l.Number != want {
				t.Errorf("%s has number %d, want %d as before the restart", l.Name, l.Number, want)
			}
		}
		f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"), SessionEndOfRIB{keyPrimary}, SessionUp{Key: keySecondary, Ends: true})
		if f.last().Mode != plan.Hold {
			t.Fatalf("one End-of-RIB is missing, and the mode is %s", f.last().Mode)
		}
		f.tell(SessionEndOfRIB{keySecondary})
		if f.last().Mode != plan.Full || !f.has("4.0.0.0/8") {
			t.Errorf("mode %s", f.last().Mode)
		}
	})
}

func TestRestartDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{Routes: 5})
		defer f.end()
		f.tell(NeighborSeen{Index: 2, Address: netip.MustParseAddr("192.0.2.2"), State: kstate.NeighborFailed})
		if f.last().Mode != plan.Adopt {
			t.Errorf("a link died: mode %s", f.last().Mode)
		}
		f.sleep(adoptTime + time.Second)
		if f.last().Mode != plan.Full {
			t.Errorf("after %s: mode %s", adoptTime, f.last().Mode)
		}
	})
}

func TestGracefulRestartOfANeighbor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.tell(SessionDown{Key: keyPrimary, Reason: "lost", Stale: true, StaleUntil: time.Now().Add(time.Minute)})
		if f.using("5.1.1.1/32") != "er/primary er/secondary" {
			t.Error("stale routes are not used")
		}
		f.tell(SessionUp{Key: keyPrimary, Preserved: true, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"))
		if f.using("5.1.1.1/32") != "er/primary er/secondary" {
			t.Error("stale routes went before the End-of-RIB")
		}
		f.tell(SessionEndOfRIB{keyPrimary})
		if got := f.using("5.1.1.1/32"); got != "er/secondary" {
			t.Errorf("5.0.0.0/8 was not announced again, and goes by %s", got)
		}
		f.tell(SessionDown{Key: keySecondary, Reason: "lost", Stale: true, StaleUntil: time.Now().Add(time.Minute)})
		f.sleep(61 * time.Second)
		if got := f.using("5.1.1.1/32"); got != "isp/main" {
			t.Errorf("stale routes expired, and 5.0.0.0/8 goes by %s", got)
		}
	})
}

func TestRouteRefreshSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		f.tell(SessionRefresh{keyPrimary, true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"), SessionRefresh{keyPrimary, false})
		if f.using("4.1.1.1/32") != "er/primary er/secondary" || f.using("5.1.1.1/32") != "er/secondary" {
			t.Errorf("4 by %s, 5 by %s", f.using("4.1.1.1/32"), f.using("5.1.1.1/32"))
		}
	})
}

func TestMaximumPrefixes(t *testing.T) {
	for _, then := range []string{"restart", "block", "warn"} {
		synctest.Test(t, func(t *testing.T) {
			text := strings.Replace(site, "neighbor: 192.0.2.2", "neighbor: 192.0.2.2, max-prefixes: {count: 2, warn: 50, then: "+then+"}", 1)
			f := start(t, text, Adopted{})
			defer f.end()
			f.tell(SessionUp{Key: keyPrimary, Ends: true}, announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"))
			if !strings.Contains(f.journal(), "limit er/primary: 1 prefixes of at most 2") {
				t.Errorf("%s: no warning before:\n%s", then, f.journal())
			}
			f.tell(announce(keyPrimary, "192.0.2.2", "5.0.0.0/8", "6.0.0.0/8"))
			if !strings.Contains(f.journal(), "limit er/primary: more than 2 prefixes: "+then) {
				t.Errorf("%s: journal\n%s", then, f.journal())
			}
			kept := f.engine.Snapshot().Links[0].Families[0].Counts.Received
			if want := map[string]int{"restart": 2, "block": 2, "warn": 3}[then]; kept != want {
				t.Errorf("%s: %d kept, want %d", then, kept, want)
			}
			if got := len(f.refused); got != map[string]int{"restart": 1}[then] {
				t.Errorf("%s: refused %d times", then, got)
			}
		})
	}
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		bothUp(f)
		before := len(f.routes)
		if err := f.engine.Reload(f.ctx, load(t, site)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !f.last().Replace || len(f.routes) != before || f.using("4.1.1.1/32") != "er/primary er/secondary" {
			t.Errorf("the same configuration again: %d routes, were %d", len(f.routes), before)
		}
		narrow := strings.Replace(site, "accept: [all]", "accept: [4.0.0.0/8]", 1)
		narrow = strings.Replace(narrow, "      primary: {interface: er0, address: 192.0.2.1/30, neighbor: 192.0.2.2}\n", "", 1)
		if err := f.engine.Reload(f.ctx, load(t, narrow)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := f.using("4.1.1.1/32"); got != "er/secondary" {
			t.Errorf("without the primary 4.1.1.1 goes by %s", got)
		}
		if got := f.using("5.1.1.1/32"); got != "isp/main" {
			t.Errorf("no longer accepted, and 5.1.1.1 goes by %s", got)
		}
		if n := f.engine.Snapshot().Links[0].Number; n != 2 {
			t.Errorf("the secondary's number changed to %d", n)
		}
		var rejected []RouteView
		if err := f.engine.Query(f.ctx, func(v *View) { rejected, _ = v.Routes(route.IPv4, RouteFilter{Rejected: true, Limit: 10}) }); err != nil {
			t.Fatal(err)
		}
		if len(rejected) != 1 || rejected[0].Reason.String() != "matches no accept entry" {
			t.Errorf("rejected: %+v", rejected)
		}
	})
}

func TestInterfaceThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, "interface: er0", "interface: er9", 1), Adopted{})
		defer f.end()
		if !strings.Contains(f.journal(), "link er/primary: carrier down: interface er9 is missing") {
			t.Errorf("journal:\n%s", f.journal())
		}
		now := allUp()
		now.All = append(now.All, kstate.Interface{Index: 9, Name: "er9", Carrier: true})
		f.tell(now)
		bothUp(f)
		if f.using("4.1.1.1/32") != "er/primary er/secondary" {
			t.Errorf("4.1.1.1 goes by %s", f.using("4.1.1.1/32"))
		}
		if !strings.Contains(f.journal(), "address 192.0.2.1/30 is not on er9") {
			t.Errorf("journal:\n%s", f.journal())
		}
	})
}

func TestAutomaticGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, strings.Replace(site, "address: 198.18.1.2/30, gateway: 198.18.1.1", "address: auto, gateway: auto", 1), Adopted{})
		defer f.end()
		if f.using("9.9.9.9/32") != "" {
			t.Errorf("before DHCP 9.9.9.9 goes by %s", f.using("9.9.9.9/32"))
		}
		now := allUp()
		now.Gateways = map[int]Gateways{4: {{Default: true, Address: netip.MustParseAddr("198.18.1.1")}}}
		f.tell(now)
		if f.using("9.9.9.9/32") != "isp/main" {
			t.Errorf("9.9.9.9 goes by %q", f.using("9.9.9.9/32"))
		}
		f.tell(allUp())
		if f.using("9.9.9.9/32") != "" {
			t.Errorf("after the lease 9.9.9.9 goes by %s", f.using("9.9.9.9/32"))
		}
	})
}

func TestWithdrawWantsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		defer f.end()
		reply := make(chan struct{})
		f.tell(Withdraw{Reply: reply})
		<-reply
		if b := f.last(); !b.Replace || len(b.Routes)+len(b.Objects.Nexthops)+len(b.Objects.Rules) != 0 || b.Mode != plan.Full {
			t.Errorf("still wanted: %+v", b)
		}
	})
}

func TestJournalIsBounded(t *testing.T) {
	var j journal
	for i := range journalSize + 5 {
		j.add(JournalEntry{Text: fmt.Sprint(i)})
	}
	if len(j.entries) != journalSize || j.entries[0].Text != "5" || j.entries[journalSize-1].Text != fmt.Sprint(journalSize+4) {
		t.Errorf("%d entries, from %s to %s", len(j.entries), j.entries[0].Text, j.entries[len(j.entries)-1].Text)
	}
}

func TestRestartWithNeighborsThatSendNoEndOfRIB(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{Routes: 5})
		defer f.end()
		f.tell(SessionUp{Key: keyPrimary}, SessionUp{Key: keySecondary})
		time.Sleep(quietTime - time.Millisecond)
		f.tell(announce(keyPrimary, "192.0.2.2", "4.0.0.0/8"))
		f.sleep(quietTime - time.Millisecond)
		if f.last().Mode != plan.Hold {
			t.Fatalf("it spoke a moment ago, and the mode is %s", f.last().Mode)
		}
		f.sleep(2 * time.Millisecond)
		if f.last().Mode != plan.Full {
			t.Errorf("all are quiet, and the mode is %s", f.last().Mode)
		}
	})
}
