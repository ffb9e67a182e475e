package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/kernel/kerneltest"
	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/route"
)

// fakeKernel is the kernel of kerneltest with settings.
type fakeKernel struct {
	*kerneltest.Kernel
	sysctls map[string]string
}

func (f fakeKernel) Sysctl(key string) (string, error) { return f.sysctls[key], nil }
func (f fakeKernel) SetSysctl(key, value string) error {
	if strings.Contains(key, "compat") {
		return errors.Join(errors.New("not settable here"), errNotExist)
	}
	f.sysctls[key] = value
	return nil
}

var errNotExist = &fsError{}

type fsError struct{}

func (*fsError) Error() string        { return "read-only" }
func (*fsError) Is(target error) bool { return target.Error() == "permission denied" }

type fakeQueues struct{}

func (fakeQueues) Apply(context.Context, kstate.Shaper) error { return nil }

type fakeFirewall struct {
	mu      sync.Mutex // the test changes fail and altered while the loop reads them
	text    string
	fail    error
	altered bool
	before  func() // it is replaced
}

func (f *fakeFirewall) set(fail error, altered bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.altered = fail, altered
}

func (f *fakeFirewall) Replace(_ context.Context, r kstate.Ruleset) error {
	if f.before != nil {
		f.before()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.text, f.altered = r.String(), false
	return nil
}
func (f *fakeFirewall) Remove(context.Context) error { f.text = ""; return nil }
func (f *fakeFirewall) Altered(context.Context) (bool, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.altered, "rule deleted", nil
}

type fixture struct {
	kernel   fakeKernel
	firewall *fakeFirewall
	r        *Reconciler
	notes    []Note
	end      context.CancelFunc
	done     chan struct{}
}

func (f *fixture) texts(kind string) []string {
	var out []string
	for _, n := range f.notes {
		if n.Kind == kind {
			out = append(out, n.Text)
		}
	}
	return out
}

func start(t *testing.T, adopt bool, found ...kstate.Sysctl) *fixture {
	t.Helper()
	f := &fixture{
		kernel:   fakeKernel{kerneltest.New(kstate.Interface{Index: 1, Name: "er0", AdminUp: true, Carrier: true}, kstate.Interface{Index: 2, Name: "wan0", AdminUp: true, Carrier: true}), map[string]string{}},
		firewall: &fakeFirewall{}, done: make(chan struct{}),
	}
	f.r = New(f.kernel, f.firewall, fakeQueues{}, time.Minute, slog.New(slog.DiscardHandler), func(n Note) { f.notes = append(f.notes, n) })
	if adopt {
		f.kernel.Apply(t.Context(), f.batch().puts())
		if _, n, err := f.r.Adopt(t.Context()); err != nil || n != 1 {
			t.Fatalf("adopted %d routes, %v", n, err)
		}
	}
	f.r.AdoptSettings(found)
	ctx, end := context.WithCancel(t.Context())
	f.end = end
	go func() {
		defer close(f.done)
		if err := f.r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return f
}

func (f *fixture) stop() {
	f.end()
	<-f.done
}

type batch struct{ plan.Batch }

// batch is a small site: one nexthop on each interface, a group of both, a route on it.
func (f *fixture) batch() batch {
	one := kstate.Nexthop{ID: kstate.NexthopFirst + 1, Family: route.IPv4, Interface: 1, Gateway: netip.MustParseAddr("192.0.2.2")}
	two := kstate.Nexthop{ID: kstate.NexthopFirst + 2, Family: route.IPv4, Interface: 2, Gateway: netip.MustParseAddr("192.0.2.6")}
	g := kstate.Nexthop{ID: kstate.GroupFirst, Family: route.IPv4, Members: []kstate.Member{{ID: one.ID, Weight: 1}}}
	r := kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix("4.0.0.0/8"), Metric: 100}, Type: kstate.Unicast, Nexthop: g.ID}
	return batch{plan.Batch{
		Objects:  plan.Objects{Nexthops: []kstate.Nexthop{one, two, g}, Rules: []kstate.Rule{{Family: route.IPv4, Priority: kstate.PriorityTable, Table: kstate.Table, SuppressPrefixLength: -1}}},
		Routes:   []kstate.RouteChange{{Route: r}},
		Sysctls:  []kstate.Sysctl{{Key: "net.ipv4.ip_forward", Value: "1"}, {Key: "net.ipv4.nexthop_compat_mode", Value: "0"}},
		Sequence: 1,
	}}
}

func (b batch) puts() []kstate.Change {
	s := plan.Diff(plan.Objects{}, b.Objects).Before
	for _, r := range b.Routes {
		s = append(s, kstate.PutRoute(r.Route))
	}
	return s
}

func TestReachesWhatIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		f.r.Submit(f.batch().Batch)
		synctest.Wait()
		st := f.r.Status()
		if st.Pending != 0 || st.Routes != 1 || st.Nexthops != 3 || st.Rules != 1 || st.Sequence != 1 {
			t.Errorf("status %+v", st)
		}
		if !strings.Contains(f.kernel.String(), "4.0.0.0/8") {
			t.Errorf("kernel holds\n%s", f.kernel)
		}
		if got := st.Sysctls[1].State; got != "not settable here" {
			t.Errorf("a setting of somebody else is %q", got)
		}
		f.stop()
	})
}

func TestRefusalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		var refuse atomic.Bool
		refuse.Store(true)
		f.kernel.Fail(func(c kstate.Change) error {
			if refuse.Load() && c.Route != nil {
				return errors.New("no buffer space")
			}
			return nil
		})
		f.r.Submit(f.batch().Batch)
		synctest.Wait()
		if st := f.r.Status(); st.Pending != 1 || st.Refused == 0 || !strings.Contains(st.LastError, "no buffer space") {
			t.Errorf("status %+v", st)
		}
		refuse.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if st := f.r.Status(); st.Pending != 0 {
			t.Errorf("status %+v", st)
		}
		f.stop()
	})
}

func TestCarrierLossIsReinstalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		f.r.Submit(f.batch().Batch)
		synctest.Wait()
		f.kernel.SetCarrier(1, false)
		b := f.batch()
		b.Lost, b.Routes, b.Sequence = []int{1}, nil, 2
		b.Objects.Nexthops = []kstate.Nexthop{b.Objects.Nexthops[1], {ID: kstate.GroupFirst, Family: route.IPv4, Members: []kstate.Member{{ID: kstate.NexthopFirst + 2, Weight: 1}}}}
		f.r.Submit(b.Batch)
		synctest.Wait()
		if st := f.r.Status(); st.Pending != 0 || st.Refused != 0 {
			t.Errorf("status %+v", st)
		}
		if !strings.Contains(f.kernel.String(), "4.0.0.0/8") {
			t.Errorf("the route is gone with the carrier:\n%s", f.kernel)
		}
		f.stop()
	})
}

func TestForeignDeletionIsRepairedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		b := f.batch()
		b.Ruleset = &kstate.Ruleset{Chains: []kstate.NftChain{{Name: "x"}}}
		f.r.Submit(b.Batch)
		synctest.Wait()
		before := f.kernel.String()
		f.kernel.Apply(t.Context(), []kstate.Change{kstate.DeleteRoute(b.Routes[0].Route), kstate.DeleteRule(b.Objects.Rules[0])})
		f.firewall.set(nil, true)
		f.r.Hint()
		time.Sleep(time.Second)
		synctest.Wait()
		if f.kernel.String() != before {
			t.Errorf("after the repair\n%s\nbefore\n%s", f.kernel, before)
		}
		st := f.r.Status()
		if st.Repaired != 3 || f.firewall.altered {
			t.Errorf("repaired %d, want the route, the rule and the table: %v", st.Repaired, f.texts("repaired"))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if st := f.r.Status(); !st.Agrees || st.Repaired != 3 {
			t.Errorf("after the next comparison: %+v", st)
		}
		f.stop()
	})
}

func TestAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, true)
		before := f.kernel.String()
		f.r.Submit(plan.Batch{Mode: plan.Hold, Replace: true, Sequence: 1})
		synctest.Wait()
		if f.kernel.String() != before {
			t.Fatalf("held, and yet\n%s", f.kernel)
		}
		// A link died while held: what is known is put, the dead nexthop leaves its groups, nothing else is deleted.
		b := f.batch()
		b.Mode, b.Routes, b.Dead, b.Sequence = plan.Adopt, nil, []kstate.NexthopID{kstate.NexthopFirst + 1}, 2
		b.Objects.Nexthops = b.Objects.Nexthops[:2]
		f.r.Submit(b.Batch)
		synctest.Wait()
		f.kernel.Applied()
		f.r.Submit(b.Batch)
		synctest.Wait()
		if again := f.kernel.Applied(); len(again) != 0 {
			t.Errorf("what is done is done again: %v", again)
		}
		if strings.Contains(f.kernel.String(), "via 192.0.2.2") || !strings.Contains(f.kernel.String(), "rule") {
			t.Errorf("adopting with a dead link:\n%s", f.kernel)
		}
		full := f.batch()
		full.Mode, full.Replace, full.Sequence = plan.Full, true, 3
		f.r.Submit(full.Batch)
		synctest.Wait()
		if f.kernel.String() != before {
			t.Errorf("all said:\n%s\nwant\n%s", f.kernel, before)
		}
		f.stop()
	})
}

func TestNothingToDoIsNothingDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, true)
		f.kernel.Applied()
		b := f.batch()
		b.Mode, b.Replace = plan.Full, true
		f.r.Submit(b.Batch)
		synctest.Wait()
		if got := f.kernel.Applied(); len(got) != 0 {
			t.Errorf("the state is as wanted, and yet %v", got)
		}
		f.stop()
	})
}

func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		b := f.batch()
		b.Ruleset = &kstate.Ruleset{Chains: []kstate.NftChain{{Name: "x"}}}
		f.r.Submit(b.Batch)
		f.r.Submit(plan.Batch{Replace: true, Ruleset: &kstate.Ruleset{}, Sequence: 2})
		f.stop()
		if text := f.kernel.String(); strings.Contains(text, "proto") || f.firewall.text != "" {
			t.Errorf("left behind:\n%s%s", text, f.firewall.text)
		}
	})
}

func TestFirewallRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		f.firewall.set(errors.New("out of memory"), false)
		b := f.batch()
		b.Ruleset = &kstate.Ruleset{Chains: []kstate.NftChain{{Name: "x"}}}
		f.r.Submit(b.Batch)
		synctest.Wait()
		if st := f.r.Status(); st.Pending != 0 || !strings.Contains(st.LastError, "out of memory") {
			t.Errorf("routes must be written though the table is refused: %+v", st)
		}
		f.firewall.set(nil, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if f.firewall.text == "" {
			t.Error("the table was not tried again")
		}
		if !slices.ContainsFunc(f.notes, func(n Note) bool { return n.Kind == "applied" }) {
			t.Error("never applied")
		}
		f.stop()
	})
}

// TestNothingIsDeletedBeforeAnythingIsWanted: hints come while the engine still reads its configuration.
func TestNothingIsDeletedBeforeAnythingIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, true)
		before := f.kernel.String()
		f.r.Hint()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if f.kernel.String() != before {
			t.Errorf("before the first batch the kernel was changed to\n%s", f.kernel)
		}
		f.stop()
	})
}

// TestARefusalHoldsNothingElseUp: one link whose nexthop the kernel does not take must not keep word of the others back,
// and is told of once.
func TestARefusalHoldsNothingElseUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		f.kernel.Fail(func(c kstate.Change) error {
			if c.Nexthop != nil && c.Nexthop.ID == kstate.NexthopFirst+2 {
				return errors.New("network is down")
			}
			return nil
		})
		f.r.Submit(f.batch().Batch)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if st := f.r.Status(); st.Sequence != 1 || st.Pending != 0 || st.Refused < 2 {
			t.Errorf("status %+v", st)
		}
		if got := f.texts("refused"); len(got) != 1 {
			t.Errorf("told of %d times: %v", len(got), got)
		}
		if len(f.texts("applied")) == 0 {
			t.Error("nobody is told that the rest is in the kernel")
		}
		f.stop()
	})
}

// submitAnd submits a batch, and another one while the first lot of its routes is written. Each change is shown to see.
func (f *fixture) submitAnd(b, then plan.Batch, see func(kstate.Change)) {
	begun := false
	f.kernel.Fail(func(c kstate.Change) error {
		see(c)
		if c.Route != nil && !begun {
			begun = true
			f.r.Submit(then)
			time.Sleep(time.Millisecond) // as a lot takes
		}
		return nil
	})
	f.r.Submit(b)
	time.Sleep(time.Second)
	synctest.Wait()
}

func manyRoutes(n int) (out []kstate.RouteChange) {
	for i := range n {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{5, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		out = append(out, kstate.RouteChange{Route: kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: p, Metric: 100}, Type: kstate.Unicast, Nexthop: kstate.GroupFirst}})
	}
	return out
}

// A group that has to move is written between two lots of routes, not behind a million of them.
func TestAGroupDoesNotWaitForRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		b := f.batch()
		b.Routes = manyRoutes(5 * maxBatch)
		moved := b.Batch
		moved.Routes, moved.Sequence = nil, 2
		moved.Objects.Nexthops = slices.Clone(b.Objects.Nexthops)
		moved.Objects.Nexthops[2].Members = []kstate.Member{{ID: kstate.NexthopFirst + 2, Weight: 1}}
		written, at := 0, 0
		f.submitAnd(b.Batch, moved, func(c kstate.Change) {
			switch {
			case c.Route != nil:
				written++
			case c.Nexthop != nil && c.Nexthop.Group() && c.Nexthop.Members[0].ID == kstate.NexthopFirst+2:
				at = written
			}
		})
		if at != maxBatch {
			t.Errorf("the group moved after %d routes, want %d", at, maxBatch)
		}
		if st := f.r.Status(); written != 5*maxBatch || st.Pending != 0 || st.Sequence != 2 {
			t.Errorf("%d routes written, status %+v", written, st)
		}
		f.stop()
	})
}
