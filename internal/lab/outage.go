package lab

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// askEvery is how often new requests are sent while something changes, askWait how long each may take.
const (
	askEvery = 3 * time.Millisecond
	askWait  = 250 * time.Millisecond
)

// Outage is what new requests met after something changed.
type Outage struct {
	// Took is from the change to the first request after which all were answered as wanted.
	Took time.Duration
	// Sent are the requests until then, Lost those of them that nobody answered.
	Sent, Lost int
}

func (o Outage) String() string {
	return fmt.Sprintf("%.1f ms, %d of %d requests lost", float64(o.Took.Microseconds())/1000, o.Lost, o.Sent)
}

// settled is how many requests in a row have to be answered as wanted for a change to count as over.
const settled = 30

// Change does something to the world while new requests, each from a port of its own, are sent every few milliseconds
// from an inside host to each of the addresses, until all are answered as wanted. One outage is returned for each.
func (w *World) Change(ctx context.Context, from string, to []netip.Addr, want func(Answer) bool, change func() error) ([]Outage, error) {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	probes := make([]*probe, len(to))
	for i, a := range to {
		probes[i] = &probe{w: w, from: from, to: a, want: want}
	}
	start := time.Now()
	if err := change(); err != nil {
		return nil, err
	}
	for _, p := range probes {
		p.start = start
		tasks.Go(func() { p.run(ctx) })
	}
	out := make([]Outage, len(probes))
	for i, p := range probes {
		err := Eventually(ctx, func() (err error) {
			out[i], err = p.outage()
			return err
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// probe sends requests and keeps what became of each.
type probe struct {
	w     *World
	from  string
	to    netip.Addr
	want  func(Answer) bool
	start time.Time

	mu   sync.Mutex // guards sent: requests end in any order
	sent []request
	last Answer
}

type request struct {
	at                    time.Duration
	done, answered, right bool
}

func (p *probe) run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		p.mu.Lock()
		n := len(p.sent)
		p.sent = append(p.sent, request{at: time.Since(p.start)})
		p.mu.Unlock()
		tasks.Go(func() {
			one, cancel := context.WithTimeout(ctx, askWait)
			defer cancel()
			a, err := p.w.AskUDP(one, p.from, p.to)
			p.mu.Lock()
			defer p.mu.Unlock()
			r := &p.sent[n]
			if r.done, r.answered = true, err == nil; r.answered {
				p.last, r.right = a, p.want(a)
			}
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// outage is an error while it lasts.
func (p *probe) outage() (Outage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := len(p.sent)
	for end > 0 && !p.sent[end-1].done {
		end--
	}
	first := end
	for first > 0 && p.sent[first-1].right {
		first--
	}
	if end-first < settled {
		return Outage{Sent: len(p.sent)}, fmt.Errorf("%s to %s: not yet answered as wanted; last answer %+v", p.from, p.to, p.last)
	}
	o := Outage{Took: p.sent[first].at, Sent: first}
	for _, r := range p.sent[:first] {
		if !r.answered {
			o.Lost++
		}
	}
	return o, nil
}
