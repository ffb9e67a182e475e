package engine

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bothways/internal/config"
	"bothways/internal/kernel/kerneltest"
	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/reconcile"
	"bothways/internal/route"
)

// exactSites are configurations between which the test reloads: with a link more and less, other rules, and compressed.
func exactSites(t *testing.T) (out []*config.Config) {
	base := strings.NewReplacer(
		"gateway: 198.18.1.1}", "neighbor: 198.18.1.1, asn: 64601, address6: '2001:db8:1::2/64', neighbor6: '2001:db8:1::1'}\n    announce: [203.0.113.0/24]",
		"neighbor: 192.0.2.2}", "neighbor: 192.0.2.2, address6: '2001:db8:2::2/64', neighbor6: '2001:db8:2::1'}",
	).Replace(site)
	for _, text := range []string{
		base,
		base + "compress: true\n",
		site,
		insideSite + "compress: true\n",
		strings.Replace(base, secondary, "", 1),
		strings.Replace(base, "accept: [all]", "accept: [20.0.0.0/9]", 1),
		base + "steer:\n  - {name: pin, to: [20.64.0.0/16], use: [isp], otherwise: drop}\n  - {name: some, to: [20.128.0.0/9], use: [[isp, er]]}\n",
		base + "steer:\n  - {name: own, from: [10.20.9.0/24], use: [isp, er]}\n  - {name: one, to: [20.0.0.0/8], use: [er], otherwise: drop}\n",
	} {
		out = append(out, load(t, text))
	}
	return out
}

// machine is a kernel with a reconciler and an engine, which takes its turns when the test says.
type machine struct {
	*fakes
	kernel  *kerneltest.Kernel
	r       *reconcile.Reconciler
	stop    func()
	carrier [5]bool // by index of the interface
	during  []Event // told one by one while tables are decided
}

func (m *machine) Room() []kstate.RouteChange { return m.r.Room() }
func (m *machine) Submit(b plan.Batch) {
	if b.More && len(m.during) > 0 {
		m.engine.Tell(context.Background(), m.during[0])
		m.during = m.during[1:]
	}
	m.r.Submit(b)
}

// settings are a kernel whose settings are as wanted.
type settings struct{ *kerneltest.Kernel }

func (settings) Sysctl(string) (string, error)                             { return "", nil }
func (settings) SetSysctl(string, string) error                            { return nil }
func (settings) Replace(context.Context, kstate.Ruleset) error             { return nil }
func (settings) Remove(context.Context) error                              { return nil }
func (settings) Altered(context.Context) (altered bool, _ string, _ error) { return false, "", nil }

type queues struct{}

func (queues) Apply(context.Context, kstate.Shaper) error { return nil }

func newMachine(k *kerneltest.Kernel) *machine {
	m := &machine{fakes: &fakes{}, kernel: k}
	for i := range m.carrier {
		m.carrier[i] = true
	}
	return m
}

func (m *machine) interfaces() Interfaces {
	all := allUp()
	for i := range all.All {
		all.All[i].Carrier = m.carrier[all.All[i].Index]
	}
	return all
}

// boot starts engine and reconciler on the kernel as it is.
func (m *machine) boot(t *rapid.T, c *config.Config, now time.Time, numbers map[string]route.Link) {
	m.r = reconcile.New(settings{m.kernel}, settings{m.kernel}, queues{}, time.Hour, slog.New(slog.DiscardHandler), func(reconcile.Note) {})
	_, n, err := m.r.Adopt(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.r.Run(ctx) }()
	m.stop = func() { cancel(); <-done }
	e := New(c, Adopted{Routes: n, Numbers: numbers}, m.interfaces(), Deps{
		Speaker: m, Kernel: m, Watch: m, Flows: m, Store: m, BFD: m, Probes: m, Proofs: m, Log: slog.New(slog.DiscardHandler)})
	e.lot = 2
	m.engine = e
	e.now = now
	e.restart.Deadline = now.Add(adoptTime)
	e.interfaces = e.first.All
	e.configure(c)
	e.setInterfaces(e.first)
	e.settle()
}

// turn is one of Run, also without events, and those that follow for what it put off.
func (m *machine) turn(now time.Time, events ...Event) {
	for again := true; again; again = len(events) > 0 {
		m.engine.now, m.engine.taken = now, 0
		for _, ev := range events {
			m.engine.handle(ev)
		}
		m.engine.fire()
		m.engine.settle()
		m.engine.replies = nil
		events = nil
		for ev, ok := m.engine.another(); ok; ev, ok = m.engine.another() {
			events = append(events, ev)
		}
	}
}

// written waits until the reconciler has written everything, and gives what the kernel holds.
func (m *machine) written(t *rapid.T) string {
	resume, err := m.r.Pause(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer resume()
	if s := m.r.Status(); s.Refused != 0 {
		t.Fatalf("the kernel refused: %s", s.LastError)
	}
	return m.kernel.String()
}

// said is what a neighbor said, as it is to be used.
type said struct {
	up, complete, stale, refreshing bool
	routes                          map[netip.Prefix]int
	old                             map[netip.Prefix]bool // not said again
}

func (s *said) age() {
	for p := range s.routes {
		s.old[p] = true
	}
}

func (s *said) sweep() {
	for p := range s.old {
		delete(s.routes, p)
	}
	clear(s.old)
	s.stale, s.refreshing = false, false
}

func newSaid() *said { return &said{routes: map[netip.Prefix]int{}, old: map[netip.Prefix]bool{}} }

var exactHops = map[SessionKey]string{
	keyPrimary: "192.0.2.2", keySecondary: "192.0.2.6", {"isp/main", route.IPv4}: "198.18.1.1",
	{"er/primary", route.IPv6}: "2001:db8:2::1", {"isp/main", route.IPv6}: "2001:db8:1::1",
}

var exactKeys = []SessionKey{keyPrimary, keySecondary, {"isp/main", route.IPv4}, {"er/primary", route.IPv6}, {"isp/main", route.IPv6}}

func exactUpdate(k SessionKey, p netip.Prefix, length int) route.Update {
	as := map[bool]uint32{true: 12076, false: 64601}[strings.HasPrefix(k.Link, "er/")]
	path := []uint32{as, 2, 3}[:1+length]
	return route.Update{Family: k.Family, Announced: []netip.Prefix{p}, Attrs: &route.Attrs{Path: route.SequencePath(path...), NextHop: netip.MustParseAddr(exactHops[k])}}
}

func drawExact(t *rapid.T, f route.Family) netip.Prefix {
	b := rapid.SampledFrom([]byte{0, 64, 128, 192}).Draw(t, "b")
	if f == route.IPv6 {
		bits := rapid.SampledFrom([]int{0, 32, 40, 48, 64}).Draw(t, "bits")
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, 0, 0, 1, b, 0, 0, 1}), bits).Masked()
	}
	bits := rapid.SampledFrom([]int{0, 8, 9, 10, 16, 24}).Draw(t, "bits")
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{20, b, byte(rapid.IntRange(0, 1).Draw(t, "c")), 0}), bits).Masked()
}

// world is the machine under test, with what is known to be right.
type world struct {
	*machine
	sites []*config.Config
	site  *config.Config
	now   time.Time
	said  map[SessionKey]*said

	reloaded bool           // in this turn
	drained  map[string]int // 1: drained, 2: and its connections move
}

// newWorld is one in which nothing has happened yet.
func newWorld(t *rapid.T, sites []*config.Config) *world {
	w := &world{machine: newMachine(kerneltest.New(allUp().All...)), sites: sites, site: sites[rapid.IntRange(0, 1).Draw(t, "first")], now: time.Unix(1_000_000, 0), said: map[SessionKey]*said{}, drained: map[string]int{}}
	for _, k := range exactKeys {
		w.said[k] = newSaid()
	}
	return w
}

func (w *world) configured(k SessionKey) bool {
	for _, p := range w.site.Paths {
		for _, l := range p.Links {
			if p.Name+"/"+l.Name == k.Link && l.BGP && l.Neighbor(k.Family).IsValid() {
				return true
			}
		}
	}
	return false
}

// session draws something that happens to a session.
func (w *world) session(t *rapid.T) []Event {
	k := rapid.SampledFrom(exactKeys).Draw(t, "session")
	s := w.said[k]
	if !w.configured(k) {
		return nil
	}
	if !s.up {
		preserved := rapid.Bool().Draw(t, "preserved")
		if s.stale && !preserved {
			s.sweep()
		}
		s.up = true
		return []Event{SessionUp{Key: k, Ends: true, Preserved: preserved}}
	}
	switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
	case what == 0:
		stale := rapid.Bool().Draw(t, "stale")
		switch {
		case !stale:
			w.said[k] = newSaid()
		case s.stale:
			s.sweep()
			fallthrough
		default:
			s.age()
			s.up, s.complete, s.refreshing, s.stale = false, false, false, true
		}
		return []Event{SessionDown{Key: k, Reason: "test", Stale: stale, StaleUntil: w.now.Add(time.Hour)}}
	case what <= 2:
		s.complete = true
		if s.stale {
			s.sweep()
		}
		return []Event{SessionEndOfRIB{k}}
	case what == 3 && s.refreshing:
		s.sweep()
		return []Event{SessionRefresh{k, false}}
	case what == 3 && s.complete:
		s.age()
		s.refreshing = true
		return []Event{SessionRefresh{k, true}}
	}
	ev := SessionUpdates{Key: k}
	withdrawn := rapid.SampledFrom([]int{0, 1, 4}).Draw(t, "withdrawn") // of four
	for range rapid.IntRange(1, 6).Draw(t, "updates") {
		p := drawExact(t, k.Family)
		withdraw := rapid.IntRange(0, 3).Draw(t, "withdraw") < withdrawn
		if withdraw && len(s.routes) > 0 {
			p = rapid.SampledFrom(slices.SortedFunc(maps.Keys(s.routes), route.ComparePrefix)).Draw(t, "known")
		}
		delete(s.old, p)
		if withdraw {
			delete(s.routes, p)
			ev.Updates = append(ev.Updates, route.Update{Family: k.Family, Withdrawn: []netip.Prefix{p}})
			continue
		}
		s.routes[p] = rapid.IntRange(0, 2).Draw(t, "path")
		ev.Updates = append(ev.Updates, exactUpdate(k, p, s.routes[p]))
	}
	return []Event{ev}
}

// event draws something that happens.
func (w *world) event(t *rapid.T) []Event {
	switch rapid.IntRange(0, 15).Draw(t, "kind") {
	case 0:
		i := rapid.IntRange(1, 4).Draw(t, "interface")
		if i == 3 && (w.reloaded || !w.configured(keySecondary)) {
			return nil // nobody tells of an interface that no link has
		}
		if i == 1 && (w.reloaded || w.engine.sent.mode != plan.Full) {
			return nil // nor of one inside where the ways by it are those of an earlier configuration
		}
		w.written(t) // what it writes meanwhile would be refused, and tried again later
		w.carrier[i] = !w.carrier[i]
		w.kernel.SetCarrier(i, w.carrier[i])
		return []Event{CarrierChanged{Index: i, Carrier: w.carrier[i]}}
	case 1:
		if w.reloaded {
			return nil
		}
		w.reloaded = true
		w.site = rapid.SampledFrom(w.sites).Draw(t, "site")
		if len(w.site.Paths[0].Links) == 1 {
			delete(w.drained, "er/secondary")
		}
		for k := range w.said {
			if !w.configured(k) {
				w.said[k] = newSaid()
			}
		}
		return []Event{Reload{w.site, make(chan error, 1)}}
	}
	if rapid.IntRange(0, 9).Draw(t, "drain") == 0 {
		l := rapid.SampledFrom([]string{"er/primary", "er/secondary", "isp/main"}).Draw(t, "drained")
		if l == "er/secondary" && len(w.site.Paths[0].Links) == 1 {
			return nil
		}
		w.drained[l] = rapid.IntRange(0, 2).Draw(t, "how")
		return []Event{w.drain(l)}
	}
	return w.session(t)
}

// drain is a link's drain as it is to be.
func (w *world) drain(link string) Event {
	return Drain{Link: link, On: w.drained[link] > 0, Move: w.drained[link] > 1, Reply: make(chan error, 1)}
}

// events draws what one turn takes.
func (w *world) events(t *rapid.T) (out []Event) {
	w.reloaded = false
	for range rapid.IntRange(1, 8).Draw(t, "events") {
		out = append(out, w.event(t)...)
	}
	return out
}

// inTheMiddle draws something that happens while tables are decided.
func (w *world) inTheMiddle(t *rapid.T) Event {
	all := []NeighborSeen{{Index: 2, Address: netip.MustParseAddr("192.0.2.2")}, {Index: 3, Address: netip.MustParseAddr("192.0.2.6")}, {Index: 4, Address: netip.MustParseAddr("198.18.1.1")}}
	ev := rapid.SampledFrom(all).Draw(t, "neighbor")
	ev.State = rapid.SampledFrom([]kstate.NeighborState{kstate.NeighborReachable, kstate.NeighborFailed}).Draw(t, "state")
	return ev
}

// restart is a daemon that ends, and another that finds what it left.
func (w *world) restart(t *rapid.T) {
	w.written(t)
	w.stop()
	w.boot(t, w.site, w.now, w.engine.numbers)
	clear(w.drained)
	for k := range w.said {
		w.said[k] = newSaid()
	}
}

// scratch is what the kernel holds where all that is known was said once, in one order, and nothing happened.
func (w *world) scratch(t *rapid.T) string {
	k := kerneltest.New(allUp().All...)
	for i, up := range w.carrier {
		if i > 0 {
			k.SetCarrier(i, up)
		}
	}
	m := newMachine(k)
	m.carrier = w.carrier
	m.boot(t, w.site, w.now, w.engine.numbers)
	defer func() { m.stop() }()
	for l := range w.drained {
		m.turn(w.now, w.drain(l))
	}
	for i, l := range m.engine.links {
		l.tracks = w.engine.links[i].tracks // they know how often links went
	}
	for _, k := range exactKeys {
		if !w.configured(k) {
			continue
		}
		m.turn(w.now, SessionUp{Key: k, Ends: true}, SessionEndOfRIB{k})
		for p, length := range w.said[k].routes {
			m.turn(w.now, SessionUpdates{k, []route.Update{exactUpdate(k, p, length)}})
		}
	}
	return m.written(t)
}

// check waits until all that was said is taken, and compares.
func (w *world) check(t *rapid.T, what string) {
	w.now = w.now.Add(stageTime + time.Second)
	w.turn(w.now)
	got := w.written(t)
	if w.engine.sent.mode != plan.Full {
		return
	}
	if want := w.scratch(t); got != want {
		t.Fatalf("%s: the kernel holds, and should not\n%s\nand does not hold\n%s", what, without(got, want), without(want, got))
	}
}

// without are the lines of a that b does not have.
func without(a, b string) string {
	other := strings.Split(b, "\n")
	return strings.Join(slices.DeleteFunc(strings.Split(a, "\n"), func(l string) bool { return slices.Contains(other, l) }), "\n")
}

// TestKernelIsAsFromScratch drives sessions, tables, withdrawals, refreshes, restarts, reloads and lost carriers through engine and
// reconciler, and holds that the kernel ends up as where only what is left of all that had ever happened.
func TestKernelIsAsFromScratch(t *testing.T) {
	sites := exactSites(t)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, sites)
		w.boot(t, w.site, w.now, nil)
		defer func() { w.stop() }()
		for turn := range rapid.IntRange(1, 10).Draw(t, "turns") {
			if rapid.IntRange(0, 14).Draw(t, "restart") == 0 {
				w.restart(t)
			}
			events := w.events(t)
			for range rapid.IntRange(0, 2).Draw(t, "during") {
				w.during = append(w.during, w.inTheMiddle(t))
			}
			w.now = w.now.Add(time.Duration(rapid.IntRange(1, 400).Draw(t, "ms")) * time.Millisecond)
			w.turn(w.now, events...)
			if rapid.IntRange(0, 2).Draw(t, "check") == 0 {
				w.check(t, fmt.Sprintf("turn %d", turn))
			}
		}
		w.now = w.now.Add(adoptTime)
		w.check(t, "end")
	})
}
