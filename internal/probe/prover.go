package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Proof is one question whether replies come back: asked through a link, with a token that the ruleset translates to the
// address that is proven. A socket bound to that address would not do: it is not this machine's.
type Proof struct {
	Link      string
	Interface string
	Source    netip.Addr // the link's own
	Mark      uint32     // of the link
	Address   netip.Addr // the one that is proven
	Token     uint16     // source port, or identifier of the echo
	Target    Target     // ICMP or TCP
	Timeout   time.Duration
}

// ProofResult is what came of it. Index is the interface that the reply came by; 0: none came, for the reason Why.
type ProofResult struct {
	Proof
	Sent  time.Time
	Index int
	RTT   time.Duration
	Why   string
	// Unsent: nothing was sent, for the reason Why.
	Unsent bool
}

// Bounds of what is under way at once.
const (
	provers     = 16
	proofsQueue = 256
)

// Prover sends proofs. Unlike a probe a proof hears replies by every interface: which one it was is the answer.
type Prover struct {
	sink   func(ProofResult)
	queue  chan Proof
	within func(func()) // tests open sockets in a namespace

	mu   sync.Mutex // guards ears: proofs of one kind and family share one
	ears map[medium]*ear
}

// NewProver makes a prover that does nothing before Run. The sink may be called from several goroutines at once.
func NewProver(sink func(ProofResult)) *Prover {
	return &Prover{sink: sink, queue: make(chan Proof, proofsQueue), ears: map[medium]*ear{}, within: func(f func()) { f() }}
}

// Prove leaves word of a proof. Every one has a result, also one that could not be sent.
func (p *Prover) Prove(q Proof) {
	select {
	case p.queue <- q:
	default:
		go p.sink(ProofResult{Proof: q, Why: "too many proofs are under way", Unsent: true})
	}
}

// Run sends proofs until ctx is done, and returns nil then.
func (p *Prover) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range provers {
		all.Go(func() {
			for {
				select {
				case q := <-p.queue:
					p.sink(p.once(ctx, q))
				case <-ctx.Done():
					return
				}
			}
		})
	}
	all.Wait()
	for _, e := range p.ears {
		e.close()
	}
	return nil
}

func (p *Prover) once(ctx context.Context, q Proof) ProofResult {
	r := ProofResult{Proof: q, Sent: time.Now()}
	got, err := p.ask(ctx, q)
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, os.ErrDeadlineExceeded):
		r.Why = fmt.Sprintf("no reply in %v", q.Timeout)
	case err != nil:
		r.Why, r.Unsent = err.Error(), true
	default:
		r.Index, r.RTT = got.index, got.rtt
	}
	return r
}

// ask listens first and sends then.
func (p *Prover) ask(ctx context.Context, q Proof) (reply, error) {
	if q.Target.Kind != ICMP && q.Target.Kind != TCP {
		return reply{}, fmt.Errorf("no proof by %s", q.Target.Kind)
	}
	if q.Source.Is4() != q.Target.Address.Is4() {
		return reply{}, fmt.Errorf("source %v for %v", q.Source, q.Target)
	}
	e, err := p.ear(medium{q.Target.Kind, q.Source.Is4()})
	if err != nil {
		return reply{}, err
	}
	w, done, err := e.listen(q)
	if err != nil {
		return reply{}, err
	}
	defer done()
	var sent *sender
	p.within(func() { sent, err = send(q) })
	if err != nil {
		return reply{}, err
	}
	defer sent.close()
	timer := time.NewTimer(q.Timeout)
	defer timer.Stop()
	select {
	case got := <-w:
		return got, nil
	case <-timer.C:
		return reply{}, errTimeout
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
}

func (p *Prover) ear(m medium) (*ear, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.ears[m]; e != nil {
		return e, nil
	}
	var e *ear
	var err error
	p.within(func() { e, err = openEar(m) })
	if err != nil {
		return nil, err
	}
	p.ears[m] = e
	return e, nil
}
