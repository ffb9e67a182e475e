package rtnl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

const (
	single4 = kstate.NexthopFirst + 1
	other4  = kstate.NexthopFirst + 2
	single6 = kstate.NexthopFirst + 3
	group4  = kstate.GroupFirst + 1
	group6  = kstate.GroupFirst + 2
)

// twoLinks makes the devices up0 and up1, with far ends down0 and down1, and returns their indexes.
func twoLinks(t testing.TB) (int, int) {
	t.Helper()
	for i, name := range []string{"0", "1"} {
		ip(t, "link add up"+name+" type veth peer name down"+name)
		ip(t, "link set down"+name+" up")
		ip(t, "link set up"+name+" up")
		ip(t, fmt.Sprintf("addr add 192.0.2.%d/30 dev up%s", 4*i+1, name))
		ip(t, fmt.Sprintf("addr add 2001:db8:%d::1/64 dev up%s nodad", i, name))
	}
	// IPv6 handles the carrier later than the command that raised it; a nexthop is refused until then.
	eventually(t, "IPv6", func() bool {
		out, _ := exec.Command("ip", "-6", "route", "show").CombinedOutput()
		return strings.Count(string(out), "2001:db8:") == 2 && !strings.Contains(string(out), "linkdown")
	})
	return index(t, "up0"), index(t, "up1")
}

func nexthops(dev0, dev1 int) []kstate.Change {
	return []kstate.Change{
		kstate.PutNexthop(kstate.Nexthop{ID: single4, Family: route.IPv4, Interface: dev0, Gateway: addr("192.0.2.2")}),
		kstate.PutNexthop(kstate.Nexthop{ID: other4, Family: route.IPv4, Interface: dev1, Gateway: addr("192.0.2.6")}),
		kstate.PutNexthop(kstate.Nexthop{ID: single6, Family: route.IPv6, Interface: dev0, Gateway: addr("2001:db8::2")}),
		kstate.PutNexthop(kstate.Nexthop{ID: group4, Family: route.IPv4, Members: []kstate.Member{{ID: single4, Weight: 1}, {ID: other4, Weight: 256}}}),
		kstate.PutNexthop(kstate.Nexthop{ID: group6, Family: route.IPv6, Members: []kstate.Member{{ID: single6, Weight: 1}}}),
	}
}

func unicast(p string, metric uint32, id kstate.NexthopID) kstate.Route {
	return kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: prefix(p), Metric: metric}, Type: kstate.Unicast, Nexthop: id}
}

func mustApply(t testing.TB, h *Handle, changes ...kstate.Change) {
	t.Helper()
	for _, f := range h.Apply(context.Background(), changes) {
		t.Fatal(f.Err)
	}
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestApplyIsWhatIPPrints(t *testing.T) {
	h := open(t)
	dev0, dev1 := twoLinks(t)
	ctx := context.Background()

	// Foreign objects beside ours.
	ip(t, "nexthop add id 7 via 192.0.2.2 dev up0")
	ip(t, "route add 198.51.100.0/24 nhid 7 table 9800 metric 50")
	ip(t, "rule add priority 9850 lookup 77")
	ip(t, "rule add priority 200 lookup 78 proto 98")

	blackhole := kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: prefix("203.0.113.0/24"), Metric: kstate.MetricBlackhole}, Type: kstate.Blackhole}
	throw6 := kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table + 1, Prefix: prefix("::/0"), Metric: kstate.MetricEnd}, Type: kstate.Throw}
	routes := []kstate.Route{
		unicast("0.0.0.0/0", 100, group4), unicast("198.51.100.0/24", 100, group4), unicast("2001:db8:ff::/48", 100, group6),
		unicast("::/0", 100, group6), blackhole, throw6,
	}
	rules := []kstate.Rule{
		{Family: route.IPv4, Priority: kstate.PriorityLink + 1, Table: kstate.Table + 1, Mark: 0x10000, Mask: 0xff0000, SuppressPrefixLength: -1},
		{Family: route.IPv4, Priority: kstate.PriorityMain, Table: kstate.MainTable, SuppressPrefixLength: 0},
		// Without this one the gateways of IPv6 nexthops would be looked up in our own table, and refused.
		{Family: route.IPv6, Priority: kstate.PriorityMain, Table: kstate.MainTable, SuppressPrefixLength: 0},
		{Family: route.IPv6, Priority: kstate.PriorityTable, Table: kstate.Table, SuppressPrefixLength: -1},
	}
	changes := nexthops(dev0, dev1)
	for _, r := range routes {
		changes = append(changes, kstate.PutRoute(r))
	}
	for _, r := range rules {
		changes = append(changes, kstate.PutRule(r))
	}
	mustApply(t, h, changes...)
	mustApply(t, h, changes...) // again: nothing happens

	wantLines(t, "nexthops", lines(ip(t, "nexthop show")),
		"id 7 via 192.0.2.2 dev up0 scope link",
		fmt.Sprintf("id %d via 192.0.2.2 dev up0 scope link proto 98", single4),
		fmt.Sprintf("id %d via 192.0.2.6 dev up1 scope link proto 98", other4),
		fmt.Sprintf("id %d via 2001:db8::2 dev up0 scope link proto 98", single6),
		fmt.Sprintf("id %d group %d/%d,256 proto 98", group4, single4, other4),
		fmt.Sprintf("id %d group %d proto 98", group6, single6))
	mustSysctl(t, h, "net.ipv4.nexthop_compat_mode", "0")
	wantLines(t, "routes", lines(ip(t, "route show table 9800")),
		"198.51.100.0/24 nhid 7 metric 50",
		fmt.Sprintf("default nhid %d proto 98 metric 100", group4),
		fmt.Sprintf("198.51.100.0/24 nhid %d proto 98 metric 100", group4),
		"blackhole 203.0.113.0/24 proto 98 metric 4294967294")
	wantLines(t, "throw", lines(ip(t, "-6 route show table 9801")), "throw default dev lo proto 98 metric 1000 pref medium")
	wantLines(t, "rules", lines(ip(t, "rule show")),
		"0: from all lookup local", "200: from all lookup 78 proto 98", "9850: from all lookup 77", "32766: from all lookup main", "32767: from all lookup default",
		"9801: from all fwmark 0x10000/0xff0000 lookup 9801 proto 98", "10900: from all lookup main suppress_prefixlength 0 proto 98")

	gotNexthops, err := h.Nexthops(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range nexthops(dev0, dev1) {
		if i >= len(gotNexthops) || !gotNexthops[i].Equal(*c.Nexthop) || gotNexthops[i].Family != c.Nexthop.Family {
			t.Fatalf("nexthops read %v, want %v at %d", gotNexthops, c.Nexthop, i)
		}
	}
	if got := readRoutes(t, h); !slices.Equal(got, sorted(routes)) {
		t.Errorf("routes read %v\nwant %v", got, sorted(routes))
	}
	gotRules, err := h.Rules(ctx)
	if err != nil || !slices.Equal(gotRules, rules) {
		t.Errorf("rules read %v, %v\nwant %v", gotRules, err, rules)
	}

	// Everything of ours goes, also twice; what is foreign stays, even where it has our prefix or priority.
	var del []kstate.Change
	for _, r := range slices.Backward(rules) {
		del = append(del, kstate.DeleteRule(r))
	}
	for _, r := range routes {
		del = append(del, kstate.DeleteRoute(r))
	}
	del = append(del, kstate.DeleteRoute(unicast("198.51.100.0/24", 50, 7)), // foreign: the protocol differs
		kstate.DeleteRoute(kstate.Route{RouteKey: kstate.RouteKey{Table: 77777, Prefix: prefix("10.0.0.0/8"), Metric: 1}}))
	for _, n := range slices.Backward(gotNexthops) {
		del = append(del, kstate.DeleteNexthop(n))
	}
	mustApply(t, h, del...)
	mustApply(t, h, del...)
	wantLines(t, "nexthops left", lines(ip(t, "nexthop show")), "id 7 via 192.0.2.2 dev up0 scope link")
	wantLines(t, "routes left", lines(ip(t, "route show table 9800")), "198.51.100.0/24 nhid 7 metric 50")
	wantLines(t, "rules left", lines(ip(t, "rule show")),
		"0: from all lookup local", "200: from all lookup 78 proto 98", "9850: from all lookup 77", "32766: from all lookup main", "32767: from all lookup default")
}

func readRoutes(t testing.TB, h *Handle) []kstate.Route {
	t.Helper()
	var got []kstate.Route
	if err := h.Routes(context.Background(), func(r kstate.Route) error { got = append(got, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return sorted(got)
}

func sorted(routes []kstate.Route) []kstate.Route {
	routes = slices.Clone(routes)
	slices.SortFunc(routes, func(a, b kstate.Route) int {
		if c := route.ComparePrefix(a.Prefix, b.Prefix); c != 0 {
			return c
		}
		return int(int64(a.Metric) - int64(b.Metric))
	})
	return routes
}

func TestApplyTellsWhichChangeWasRefused(t *testing.T) {
	h := open(t)
	dev0, dev1 := twoLinks(t)
	mustApply(t, h, nexthops(dev0, dev1)...)
	changes := []kstate.Change{
		kstate.PutRoute(unicast("10.0.0.0/8", 100, group4)),
		kstate.PutRoute(unicast("10.1.0.0/16", 100, kstate.GroupFirst+99)),                                                 // no such nexthop
		kstate.PutNexthop(kstate.Nexthop{ID: single4, Members: []kstate.Member{{ID: other4, Weight: 1}}}),                  // would change kind
		kstate.PutNexthop(kstate.Nexthop{ID: group4, Family: route.IPv4, Interface: dev0, Gateway: addr("192.0.2.2")}),     // and back
		kstate.PutRoute(unicast("10.2.0.0/16", 0, group4)),                                                                 // refused here, not sent
		kstate.PutRoute(unicast("2001:db8:3::/48", 100, group4)),                                                           // other family
		kstate.PutNexthop(kstate.Nexthop{ID: 5, Family: route.IPv4, Interface: dev0}),                                      // not ours
		kstate.PutRoute(kstate.Route{RouteKey: kstate.RouteKey{Table: 254, Prefix: prefix("10.0.0.0/8"), Metric: 1}}),      // not ours
		kstate.PutRule(kstate.Rule{Family: route.IPv4, Priority: 1, Table: kstate.Table}),                                  // not ours
		kstate.PutRoute(unicast("10.4.0.0/16", 100, group4)),                                                               // goes on after failures
		kstate.PutNexthop(kstate.Nexthop{ID: group4 + 50, Family: route.IPv4, Interface: 999, Gateway: addr("192.0.2.2")}), // last, and refused
	}
	failures := h.Apply(context.Background(), changes)
	var got []string
	for _, f := range failures {
		got = append(got, f.Err.Error())
		t.Log(f.Err)
	}
	if len(got) != len(changes)-2 {
		t.Fatalf("%d failures, want %d:\n%s", len(got), len(changes)-2, strings.Join(got, "\n"))
	}
	if !errors.Is(failures[0].Err, unix.EINVAL) || !strings.Contains(got[0], "Nexthop id does not exist") {
		t.Errorf("missing nexthop: %s", got[0])
	}
	if want := "Can not replace a nexthop with a nexthop group"; !strings.Contains(got[1], want) {
		t.Errorf("kind: %s, want %s", got[1], want)
	}
	if r := readRoutes(t, h); len(r) != 2 {
		t.Errorf("routes %v, want the two good ones", r)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if f := h.Apply(ctx, changes); len(f) != len(changes) || !errors.Is(f[0].Err, context.Canceled) {
		t.Errorf("after cancel: %v", f)
	}
}

// A route that is put again changes its type and its nexthop in place, in both families.
func TestApplyReplacesRoute(t *testing.T) {
	h := open(t)
	dev0, dev1 := twoLinks(t)
	mustApply(t, h, nexthops(dev0, dev1)...)
	for _, p := range []string{"10.0.0.0/8", "2001:db8:10::/48"} {
		group := group4
		if strings.Contains(p, ":") {
			group = group6
		}
		black := unicast(p, 100, 0)
		black.Type = kstate.Blackhole
		throw := black
		throw.Type = kstate.Throw
		for _, r := range []kstate.Route{unicast(p, 100, group), black, throw, black, unicast(p, 100, group)} {
			mustApply(t, h, kstate.PutRoute(r), kstate.PutRoute(unicast(p, 200, group)))
			if got := readRoutes(t, h); !slices.Equal(got, []kstate.Route{r, unicast(p, 200, group)}) {
				t.Errorf("after put of %v: %v", r, got)
			}
		}
		mustApply(t, h, kstate.DeleteRoute(black), kstate.DeleteRoute(unicast(p, 200, group)))
	}
}

// The group is replaced under the routes, which is what failover does.
func TestGroupReplaceUnderRoutes(t *testing.T) {
	h := open(t)
	dev0, dev1 := twoLinks(t)
	mustSysctl(t, h, "net.ipv4.nexthop_compat_mode", "0")
	mustApply(t, h, nexthops(dev0, dev1)...)
	mustApply(t, h, manyRoutes(10_000, group4)...)
	start := time.Now()
	mustApply(t, h, kstate.PutNexthop(kstate.Nexthop{ID: group4, Members: []kstate.Member{{ID: other4, Weight: 1}}}))
	took := time.Since(start)
	t.Logf("group under 10,000 routes replaced in %s", took)
	if took > 20*time.Millisecond {
		t.Errorf("replacing the group took %s: it should not depend on the routes", took)
	}
	if got := ip(t, "route get 10.0.77.1 oif up1"); !strings.Contains(got, "up1") {
		t.Error(got)
	}
	if n := len(readRoutes(t, h)); n != 10_000 {
		t.Errorf("%d routes", n)
	}
}

// What the design rests on: a lost carrier takes the nexthops, the groups left empty and their routes, without events
// for them, and the carrier's return brings nothing back.
func TestCarrierLossTakesEverythingSilently(t *testing.T) {
	h := open(t)
	dev0, dev1 := twoLinks(t)
	mustApply(t, h, nexthops(dev0, dev1)...)
	only0 := kstate.GroupFirst + 9
	mustApply(t, h,
		kstate.PutNexthop(kstate.Nexthop{ID: only0, Members: []kstate.Member{{ID: single4, Weight: 1}}}),
		kstate.PutRoute(unicast("10.0.0.0/8", 100, only0)), kstate.PutRoute(unicast("10.0.0.0/8", 101, group4)))
	w := watch(t, h)
	ip(t, "link set down0 down")
	w.wait(t, func(e Event) bool {
		return e.Kind == InterfaceChanged && e.Interface.Index == dev0 && !e.Interface.Carrier
	})
	eventually(t, "loss", func() bool {
		carrier, err := h.Poke(dev0)
		return err == nil && !carrier
	})
	got, err := h.Nexthops(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := []kstate.Nexthop{*nexthops(dev0, dev1)[1].Nexthop, {ID: group4, Members: []kstate.Member{{ID: other4, Weight: 256}}}}
	if len(got) != 2 || !got[0].Equal(want[0]) || !got[1].Equal(want[1]) {
		t.Errorf("nexthops left %v, want %v", got, want)
	}
	if r := readRoutes(t, h); len(r) != 1 || r[0].Metric != 101 {
		t.Errorf("routes left %v", r)
	}
	f := h.Apply(context.Background(), nexthops(dev0, dev1)[:1])
	if len(f) != 1 || !errors.Is(f[0].Err, unix.ENETDOWN) {
		t.Errorf("single without carrier: %v, want ENETDOWN", f)
	}
	ip(t, "link set down0 up")
	w.wait(t, func(e Event) bool {
		return e.Kind == InterfaceChanged && e.Interface.Index == dev0 && e.Interface.Carrier
	})
	if got, _ := h.Nexthops(context.Background()); len(got) != 2 {
		t.Errorf("after the carrier came back: %v", got)
	}
	for _, e := range w.all() {
		if e.Kind == RouteChanged || e.Kind == NexthopChanged {
			t.Errorf("event %v: the kernel tells more than the design says", e)
		}
	}
}

func manyRoutes(n int, id kstate.NexthopID) []kstate.Change {
	changes := make([]kstate.Change, n)
	for i := range changes {
		a := netip.AddrFrom4([4]byte{byte(10 + i>>16), byte(i >> 8), byte(i), 0})
		changes[i] = kstate.PutRoute(kstate.Route{
			RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: netip.PrefixFrom(a, 24), Metric: 100}, Type: kstate.Unicast, Nexthop: id})
	}
	return changes
}

func BenchmarkApply(b *testing.B) {
	const n = 100_000
	h := open(b)
	dev0, dev1 := twoLinks(b)
	mustSysctl(b, h, "net.ipv4.nexthop_compat_mode", "0")
	mustApply(b, h, nexthops(dev0, dev1)...)
	mustApply(b, h, kstate.PutNexthop(kstate.Nexthop{ID: group4 + 7, Members: []kstate.Member{{ID: other4, Weight: 1}}}))
	add, replace := manyRoutes(n, group4), manyRoutes(n, group4+7)
	for _, c := range [][]kstate.Change{add, replace} { // as a BGP session tells them: in no order
		rand.New(rand.NewPCG(1, 1)).Shuffle(n, func(i, j int) { c[i], c[j] = c[j], c[i] })
	}
	var del []kstate.Change
	for _, c := range add {
		del = append(del, kstate.DeleteRoute(*c.Route))
	}
	for _, watched := range []bool{false, true} {
		b.Run(fmt.Sprintf("watched=%t", watched), func(b *testing.B) {
			if watched {
				watch(b, h)
			}
			b.ReportAllocs()
			took := make([]time.Duration, 3)
			for b.Loop() {
				for i, changes := range [][]kstate.Change{add, replace, del} {
					start := time.Now()
					mustApply(b, h, changes...)
					took[i] += time.Since(start)
				}
			}
			for i, what := range []string{"add", "replace", "delete"} {
				b.ReportMetric(float64(took[i].Nanoseconds())/float64(b.N)/n, "ns/"+what)
			}
		})
	}
}
