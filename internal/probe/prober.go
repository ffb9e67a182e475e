package probe

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// queued is how many results may wait for the sink before probes wait for it too.
const queued = 1024

// Prober probes all links. Its methods may be called from any goroutine.
type Prober struct {
	log     *slog.Logger
	sink    func(Result)
	results chan Result
	changed chan struct{} // one token: want is another one

	mu   sync.Mutex // guards what follows: Set and probes write, Last reads
	want []Config
	last map[string]map[Target]Result // by link

	within func(func()) // tests open sockets in a namespace
}

// New makes a prober that does nothing before Run. The sink is called from one goroutine, with the results of a target in
// the order of its probes.
func New(log *slog.Logger, sink func(Result)) *Prober {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Prober{log: log, sink: sink, results: make(chan Result, queued), changed: make(chan struct{}, 1),
		last: map[string]map[Target]Result{}, within: func(f func()) { f() }}
}

// Set says what is probed. Links whose configuration is the same go on undisturbed. Nothing changes if any is wrong.
func (p *Prober) Set(list []Config) error {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Config) int { return strings.Compare(a.Link, b.Link) })
	for i, c := range list {
		if err := c.check(); err != nil {
			return err
		}
		if i > 0 && list[i-1].Link == c.Link {
			return fmt.Errorf("link %s: probes: is there twice", c.Link)
		}
		list[i].Targets = slices.Clone(c.Targets)
	}
	p.mu.Lock()
	p.want = list
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return nil
}

// Last returns the last result of each target that has one, by link, in the order of the configuration.
func (p *Prober) Last() []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Result
	for _, c := range p.want {
		for _, t := range c.Targets {
			if r, ok := p.last[c.Link][t]; ok {
				all = append(all, r)
			}
		}
	}
	return all
}

// Run probes until ctx is done, and returns nil then.
func (p *Prober) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { p.deliver(ctx) })
	type running struct {
		cfg  Config
		stop func()
	}
	links := map[string]running{}
	defer func() {
		for _, r := range links {
			r.stop()
		}
	}()
	for {
		p.mu.Lock()
		want := p.want
		p.mu.Unlock()
		names := map[string]bool{}
		for _, c := range want {
			names[c.Link] = true
			if r, ok := links[c.Link]; ok {
				if r.cfg.equal(c) {
					continue
				}
				r.stop()
			}
			links[c.Link] = running{c, p.start(ctx, c)}
		}
		for name, r := range links {
			if !names[name] {
				r.stop()
				delete(links, name)
			}
		}
		p.forget(names)
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		}
	}
}

// start probes one link until stop, which returns when all of it has ended.
func (p *Prober) start(ctx context.Context, c Config) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	l := newLink(p, c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx)
	}()
	return func() { cancel(); <-done }
}

func (p *Prober) forget(names map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.last {
		if !names[name] {
			delete(p.last, name)
		}
	}
}

// report takes a result from a probe.
func (p *Prober) report(ctx context.Context, r Result) {
	p.mu.Lock()
	if p.last[r.Link] == nil {
		p.last[r.Link] = map[Target]Result{}
	}
	p.last[r.Link][r.Target] = r
	p.mu.Unlock()
	select {
	case p.results <- r:
	case <-ctx.Done():
	}
}

// deliver calls the sink.
func (p *Prober) deliver(ctx context.Context) {
	for {
		select {
		case r := <-p.results:
			p.sink(r)
		case <-ctx.Done():
			return
		}
	}
}
