package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"bothways/internal/kernel/kerneltest"
	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/route"
)

// convergence is a reconciler whose turns the test takes, with what the batches so far want together.
type convergence struct {
	r        *Reconciler
	kernel   *kerneltest.Kernel
	want     map[kstate.RouteKey]kstate.Route
	carrier  [3]bool
	sequence uint64
}

var errRefused = errors.New("no buffer space")

// slowKernel does something before it makes changes.
type slowKernel struct {
	fakeKernel
	before func()
}

func (k *slowKernel) Apply(ctx context.Context, changes []kstate.Change) []kstate.Failure {
	if k.before != nil {
		k.before()
	}
	return k.fakeKernel.Apply(ctx, changes)
}

// newConvergence is one with both carriers and lots of a few routes.
func newConvergence(t *rapid.T) (*convergence, *slowKernel) {
	c := &convergence{want: map[kstate.RouteKey]kstate.Route{}, carrier: [3]bool{false, true, true}}
	c.kernel = kerneltest.New(kstate.Interface{Index: 1, AdminUp: true, Carrier: true}, kstate.Interface{Index: 2, AdminUp: true, Carrier: true})
	slow := &slowKernel{fakeKernel: fakeKernel{c.kernel, map[string]string{}}}
	c.r = New(slow, &fakeFirewall{}, fakeQueues{}, time.Hour, slog.New(slog.DiscardHandler), func(Note) {})
	c.r.lotSize = rapid.IntRange(1, 4).Draw(t, "lot size")
	return c, slow
}

// drawOthers draws batches that are submitted while the kernel makes changes, for some of which it takes until the loop has done what it
// can meanwhile. rest submits those that are left.
func (k *slowKernel) drawOthers(t *rapid.T, batch func(*rapid.T) plan.Batch, submit func(plan.Batch)) (rest func()) {
	var others []plan.Batch
	var after []int // so many writes each is submitted; several may be at once
	for range max(0, rapid.IntRange(-3, 4).Draw(t, "others")) {
		others, after = append(others, batch(t)), append(after, rapid.IntRange(0, 4).Draw(t, "after"))
	}
	late, writes := rapid.Uint8().Draw(t, "late"), 0
	k.before = func() {
		for ; len(others) > 0 && writes >= after[0]; others, after = others[1:], after[1:] {
			submit(others[0])
		}
		if writes++; late>>(writes%8)&1 != 0 {
			synctest.Wait()
		}
	}
	return func() {
		k.before = nil
		for _, b := range others {
			submit(b)
		}
	}
}

// bubble is a test in a bubble, where it has no deadline for which rapid could ask.
type bubble struct{ rapid.TB }

func (c *convergence) single(i int) kstate.Nexthop {
	return kstate.Nexthop{ID: kstate.NexthopFirst + kstate.NexthopID(i), Family: route.IPv4, Interface: i, Gateway: netip.MustParseAddr("192.0.2.2")}
}

// batch draws what is wanted next.
func (c *convergence) batch(t *rapid.T) plan.Batch {
	c.sequence++
	b := plan.Batch{Sequence: c.sequence, More: rapid.IntRange(0, 3).Draw(t, "more") == 0, Mode: rapid.SampledFrom([]plan.Mode{plan.Full, plan.Full, plan.Adopt, plan.Hold}).Draw(t, "mode")}
	b.Objects = c.objects(func(g int) int { return rapid.IntRange(0, 3).Draw(t, "members") })
	if b.Replace = rapid.IntRange(0, 7).Draw(t, "replace") == 0; b.Replace {
		clear(c.want)
	}
	for range rapid.IntRange(0, 12).Draw(t, "routes") {
		k := kstate.RouteKey{Table: kstate.Table + uint32(rapid.IntRange(0, 1).Draw(t, "table")), Metric: kstate.MetricRanking,
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(rapid.IntRange(0, 9).Draw(t, "prefix"))}), 16)}
		if rapid.IntRange(0, 3).Draw(t, "ipv6") == 0 {
			k.Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(rapid.IntRange(0, 4).Draw(t, "prefix"))}), 32)
		}
		x := kstate.RouteChange{Route: kstate.Route{RouteKey: k, Type: kstate.Blackhole}, Delete: rapid.IntRange(0, 2).Draw(t, "delete") == 0}
		if k.Prefix.Addr().Is4() {
			x.Route.Type, x.Route.Nexthop = kstate.Unicast, kstate.GroupFirst+kstate.NexthopID(rapid.IntRange(0, 3).Draw(t, "group"))
		}
		x.Follows = rapid.Bool().Draw(t, "follows") // what comes when makes no difference here
		if c.want[k] = x.Route; x.Delete {
			delete(c.want, k)
		}
		b.Routes = append(b.Routes, x)
	}
	return b
}

// objects are four groups, of none, one or both of the links that have a carrier.
func (c *convergence) objects(members func(g int) int) (o plan.Objects) {
	for i := 1; i <= 2; i++ {
		if c.carrier[i] {
			o.Nexthops = append(o.Nexthops, c.single(i))
		}
	}
	for g := range 4 {
		n := kstate.Nexthop{ID: kstate.GroupFirst + kstate.NexthopID(g), Family: route.IPv4}
		for i, m := 1, members(g); i <= 2; i++ {
			if m&i != 0 && c.carrier[i] {
				n.Members = append(n.Members, kstate.Member{ID: c.single(i).ID, Weight: 1})
			}
		}
		if len(n.Members) > 0 {
			o.Nexthops = append(o.Nexthops, n)
		}
	}
	return o
}

// TestConverges: whatever was refused, lost, changed by others, or wanted in the middle of writing something else, the kernel ends up
// with what is wanted, and nothing is kept of what is not.
func TestConverges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { rapid.Check(bubble{t}, converges) })
}

func converges(t *rapid.T) {
	ctx := t.Context()
	c, slow := newConvergence(t)
	defer c.r.fly(ctx)()
	for range rapid.IntRange(1, 12).Draw(t, "turns") {
		var lost []int
		switch rapid.IntRange(0, 7).Draw(t, "what") {
		case 0:
			i := rapid.IntRange(1, 2).Draw(t, "interface")
			c.carrier[i] = !c.carrier[i]
			c.kernel.SetCarrier(i, c.carrier[i])
			if !c.carrier[i] && rapid.Bool().Draw(t, "told") {
				lost = []int{i}
			}
		case 1:
			for k, r := range c.want {
				c.kernel.Apply(ctx, []kstate.Change{{Verb: kstate.Delete, Route: &kstate.Route{RouteKey: k, Type: r.Type, Nexthop: r.Nexthop}}})
				break
			}
		case 2:
			c.kernel.Apply(ctx, []kstate.Change{kstate.PutRoute(kstate.Route{Type: kstate.Blackhole, RouteKey: kstate.RouteKey{
				Table: kstate.Table, Metric: kstate.MetricRanking, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(rapid.IntRange(0, 12).Draw(t, "foreign"))}), 16)}})})
		case 3:
			c.r.compare(ctx)
		}
		b := c.batch(t)
		b.Lost = lost
		refuse, n := rapid.IntRange(0, 5).Draw(t, "refuse"), 0
		rest := slow.drawOthers(t, c.batch, c.r.Submit)
		c.kernel.Fail(func(kstate.Change) error {
			n++
			if refuse > 0 && n%refuse == 1 {
				return errRefused
			}
			return nil
		})
		c.r.Submit(b)
		c.r.turn(ctx)
		c.kernel.Fail(nil)
		rest()
		c.r.turn(ctx)
	}
	c.sequence++
	o := c.objects(func(int) int { return 3 })
	c.r.Submit(plan.Batch{Sequence: c.sequence, Objects: o})
	c.r.compare(ctx)
	taken := c.r.turn(ctx)
	if !taken {
		taken = c.r.turn(ctx) // what was refused is tried again
	}
	if !taken {
		t.Fatalf("refused: %s", c.r.lastError)
	}
	want := maps.Clone(c.want)
	if len(o.Nexthops) == 0 {
		maps.DeleteFunc(want, func(_ kstate.RouteKey, r kstate.Route) bool { return r.Type == kstate.Unicast })
	}
	c.same(t, want)
	if four, six := &c.r.routes.four, &c.r.routes.six; int(four.used)-len(four.free) != four.index.n || int(six.used)-len(six.free) != six.index.n {
		t.Fatalf("%d of %d and %d of %d places are free, with %d and %d routes", len(four.free), four.used, len(six.free), six.used, four.index.n, six.index.n)
	}
	if got := c.r.routes.len(); got != len(c.want) || c.r.routes.wanted != len(c.want) || c.r.routes.differ != len(c.want)-len(want) {
		t.Fatalf("%d routes are kept, %d wanted, %d differ; want %d, of which the kernel can hold %d", got, c.r.routes.wanted, c.r.routes.differ, len(c.want), len(want))
	}
	c.r.compare(ctx)
	if !c.r.agrees && len(want) == len(c.want) {
		t.Fatal("a comparison finds something else")
	}
}

func (c *convergence) same(t *rapid.T, want map[kstate.RouteKey]kstate.Route) {
	got := map[kstate.RouteKey]kstate.Route{}
	if err := c.kernel.Routes(t.Context(), func(r kstate.Route) error { got[r.RouteKey] = r; return nil }); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Fatalf("the kernel holds\n%v\nwant\n%v", got, want)
	}
}
