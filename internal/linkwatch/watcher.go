package linkwatch

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// Kernel is what is asked.
type Kernel interface {
	Interfaces(context.Context) ([]kstate.Interface, error)
	Gateway(ctx context.Context, index int, f route.Family) (netip.Addr, bool, error)
	Poke(index int) (carrier bool, err error)
	ProbeNeighbor(index int, a netip.Addr) error
	Neighbor(index int, a netip.Addr) (kstate.Neighbor, error)
	Lookup(a netip.Addr) (index int, err error)
}

// Sink takes what was seen. Its methods may block for as long as the engine is behind.
type Sink interface {
	Interfaces(at time.Time, all []kstate.Interface, gateways map[int][2]Gateway)
	// Carrier tells of a carrier that was read at a time.
	Carrier(index int, carrier bool, at time.Time)
	// Neighbor tells of an entry that was read at a time.
	Neighbor(n kstate.Neighbor, at time.Time)
	// Pinned tells by which interface packets to a pinned address leave; 0: by none.
	Pinned(a netip.Addr, index int)
}

// Watched is a link.
type Watched struct {
	Index     int // 0: missing
	Neighbors []netip.Addr
	// Automatic: others set its gateways up, at any time and without a word, so that everything is read again often.
	Automatic bool
}

// Gateway is where a default route of others leads by an interface. A point-to-point interface has no address there.
type Gateway struct {
	Default bool
	Address netip.Addr
}

// Periods. Without being asked the kernel handles carrier events of network cards at most once a second.
const (
	carrierEvery  = 10 * time.Millisecond
	neighborEvery = time.Second
	settle        = 20 * time.Millisecond
	rereadEvery   = 30 * time.Second
)

// Watcher is the loop.
type Watcher struct {
	kernel Kernel
	sink   Sink
	log    *slog.Logger
	reread chan struct{}

	mu      sync.Mutex // guards what follows, which the engine replaces while the loops read it
	watched []Watched
	pinned  []netip.Addr
	seen    map[int]time.Time
}

// New returns a watcher that does nothing before Run.
func New(k Kernel, s Sink, log *slog.Logger) *Watcher {
	return &Watcher{kernel: k, sink: s, log: log, reread: make(chan struct{}, 1), seen: map[int]time.Time{}}
}

// Set says which links matter.
func (w *Watcher) Set(links []Watched) {
	w.mu.Lock()
	w.watched = links
	w.mu.Unlock()
}

// Seen is when each watched interface was last looked at and had a carrier. One that has lost it lost it after that.
func (w *Watcher) Seen() map[int]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.seen)
}

// SeenOf is that of one interface; zero: never.
func (w *Watcher) SeenOf(index int) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[index]
}

// saw remembers looks at which interfaces had a carrier, and forgets those that are not watched.
func (w *Watcher) saw(looks map[int]time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.seen, looks)
	maps.DeleteFunc(w.seen, func(index int, _ time.Time) bool {
		return !slices.ContainsFunc(w.watched, func(l Watched) bool { return l.Index == index })
	})
}

func (w *Watcher) links() []Watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watched
}

// Reread has all interfaces read soon: a hint of the kernel, or a reason to doubt.
func (w *Watcher) Reread() {
	select {
	case w.reread <- struct{}{}:
	default:
	}
}

// Read reads all interfaces, and the default gateways that others set up on them.
func Read(ctx context.Context, k Kernel) ([]kstate.Interface, map[int][2]Gateway, error) {
	all, err := k.Interfaces(ctx)
	if err != nil {
		return nil, nil, err
	}
	gateways := map[int][2]Gateway{}
	for _, in := range all {
		var pair [2]Gateway
		for i, f := range route.Families() {
			if a, ok, err := k.Gateway(ctx, in.Index, f); err == nil && ok {
				pair[i] = Gateway{true, a}
			}
		}
		if pair[0].Default || pair[1].Default {
			gateways[in.Index] = pair
		}
	}
	return all, gateways, nil
}

// Run works until the context ends.
func (w *Watcher) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { w.carriers(ctx) })
	loops.Go(func() { w.neighbors(ctx) })
	loops.Go(func() { w.interfaces(ctx) })
	loops.Go(func() { w.pins(ctx) })
	loops.Wait()
	return nil
}

func (w *Watcher) carriers(ctx context.Context) {
	tick := time.NewTicker(carrierEvery)
	defer tick.Stop()
	last := map[int]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		looks := map[int]time.Time{}
		for _, l := range w.links() {
			if l.Index == 0 {
				continue
			}
			at := time.Now() // before the answer: the carrier was there then
			carrier, err := w.kernel.Poke(l.Index)
			if err != nil {
				delete(last, l.Index)
				w.Reread()
				continue
			}
			if was, ok := last[l.Index]; !ok || was != carrier {
				last[l.Index] = carrier
				w.sink.Carrier(l.Index, carrier, time.Now())
				if carrier && ok {
					w.probe(l)
				}
			}
			if carrier {
				looks[l.Index] = at
			}
		}
		w.saw(looks)
	}
}

func (w *Watcher) probe(l Watched) {
	for _, a := range l.Neighbors {
		// An error here is a missing interface, which the other loops see too.
		_ = w.kernel.ProbeNeighbor(l.Index, a)
	}
}

func (w *Watcher) neighbors(ctx context.Context) {
	tick := time.NewTicker(neighborEvery)
	defer tick.Stop()
	for {
		for _, l := range w.links() {
			// Asked without a carrier the kernel begins to count failures that are none of the neighbor's, and goes on
			// counting when the carrier is back.
			carrier := false
			if l.Index != 0 {
				carrier, _ = w.kernel.Poke(l.Index)
			}
			for _, a := range l.Neighbors {
				if !carrier {
					continue
				}
				if n, err := w.kernel.Neighbor(l.Index, a); err == nil {
					w.sink.Neighbor(n, time.Now())
				}
			}
			if carrier {
				w.probe(l)
			}
			if l.Automatic {
				w.Reread()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *Watcher) interfaces(ctx context.Context) {
	pause := rereadEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.reread:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
		case <-time.After(pause):
		}
		at := time.Now()
		all, gateways, err := Read(ctx, w.kernel)
		if err != nil {
			w.log.Warn("cannot read interfaces, trying again", "error", err)
			pause = time.Second
			continue
		}
		pause = rereadEvery
		w.sink.Interfaces(at, all, gateways)
	}
}
