package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bothways/bench/router"
	"bothways/bench/site"
	"bothways/bench/speaker"
	"bothways/bench/stat"
	"bothways/bench/stream"
)

// bench is what all cases share.
type bench struct {
	ctx    context.Context
	log    *slog.Logger
	rounds int
	routes int
	// bfdRounds are those of silent loss with BFD, whose worst case matters more than its median.
	bfdRounds int
	daemon    string
	env       []string
	only      []string // routers by name; empty: all
}

// kind makes a router anew for each measurement.
type kind struct {
	name string
	make func() router.Router
}

func (b *bench) kinds(names ...string) []kind {
	all := []kind{
		{"Bothways", func() router.Router { return &router.Bothways{Program: b.daemon, Env: b.env} }},
		{"BIRD", func() router.Router { return &router.Bird{} }},
		{"FRR", func() router.Router { return &router.FRR{} }},
		{"OpenBGPD", func() router.Router { return &router.OpenBGPD{} }},
		{"GoBGP", func() router.Router { return &router.GoBGP{} }},
	}
	var out []kind
	for _, k := range all {
		if slices.Contains(names, k.name) && (len(b.only) == 0 || slices.Contains(b.only, k.name)) {
			out = append(out, k)
		}
	}
	return out
}

// variant is a row of a case: a router with a setup.
type variant struct {
	name  string
	kind  kind
	setup router.Setup
}

// alternate runs every variant once a round, so that what disturbs the machine disturbs all.
func (b *bench) alternate(r *stat.Result, rounds int, variants []variant, one func(variant) ([]float64, error)) {
	for round := range rounds {
		for _, v := range variants {
			if b.ctx.Err() != nil {
				return
			}
			if round > 0 && v.kind.name == "GoBGP" {
				continue // a minute each at full size; said in the document
			}
			if why := v.kind.make().Missing(); why != "" {
				r.Fail(v.name, why)
				continue
			}
			start := time.Now()
			values, err := one(v)
			for again := 0; again < 3 && errors.Is(err, errStood) && b.ctx.Err() == nil; again++ {
				b.log.Warn("measured again", "row", v.name, "round", round+1, "reason", err)
				values, err = one(v)
			}
			if err != nil {
				b.log.Error("no result", "row", v.name, "round", round+1, "error", err)
				r.Fail(v.name, fmt.Sprintf("round %d: %v", round+1, err))
				continue
			}
			r.Add(v.name, values...)
			b.log.Info("measured", "row", v.name, "round", round+1, "values", fmt.Sprintf("%.4g", values), "took", time.Since(start).Round(time.Millisecond))
		}
	}
}

// play is one router at a site with its sessions.
type play struct {
	*site.Site
	b        *bench
	router   router.Router
	ipv6     bool
	enhanced bool
	sessions []*speaker.Session
}

// start builds a site, starts the router, and brings up all sessions.
func (b *bench) start(v variant, o site.Options) (*play, error) {
	s, err := site.New(o)
	if err != nil {
		return nil, err
	}
	v.setup.Site = s
	p := &play{Site: s, b: b, router: v.kind.make(), ipv6: v.setup.IPv6, enhanced: v.setup.Enhanced}
	if err := p.router.Start(b.ctx, v.setup); err != nil {
		p.close()
		return nil, fmt.Errorf("%s: %w", v.name, err)
	}
	for i := range s.Peers {
		if err := p.connect(i); err != nil {
			p.close()
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return p, nil
}

func (p *play) connect(i int) error {
	ctx, cancel := context.WithTimeout(p.b.ctx, 30*time.Second)
	defer cancel()
	s, err := speaker.Connect(ctx, p.speaker(i))
	if err != nil {
		return err
	}
	for len(p.sessions) <= i {
		p.sessions = append(p.sessions, nil)
	}
	p.sessions[i] = s
	return nil
}

func (p *play) speaker(i int) speaker.Config {
	x := p.Peers[i]
	c := speaker.Config{Space: x.Space, Local: x.Address, Remote: x.Router, AS: x.AS, RemoteAS: site.RouterAS, RouterID: x.Address, Enhanced: p.enhanced}
	if p.ipv6 {
		c.Local, c.Remote = x.Address6, x.Router6
	}
	return c
}

// nextHop is what a peer announces with.
func (p *play) nextHop(i int) netip.Addr {
	if p.ipv6 {
		return p.Peers[i].Address6
	}
	return p.Peers[i].Address
}

func (p *play) close() {
	if p.router != nil {
		p.router.Stop()
	}
	for _, s := range p.sessions {
		if s != nil {
			s.Close()
		}
	}
	p.Site.Close()
}

// say has peers send their streams at the same time, and returns when all are sent.
func (p *play) say(streams map[int][]byte) error {
	var wait sync.WaitGroup
	errs := make([]error, len(p.sessions))
	for i, b := range streams {
		wait.Go(func() { errs[i] = p.sessions[i].Send(b) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// patience is how long a measurement waits for its end.
const patience = time.Minute

// holds waits until the router uses, for the last prefix of a table and 16 others, the routes of a neighbor.
func (p *play) holds(t stream.Table, by int) (time.Time, error) {
	all := t.Prefixes()
	random := rand.New(rand.NewPCG(9, 9))
	check := []netip.Prefix{all[len(all)-1]}
	for range 16 {
		check = append(check, all[random.IntN(len(all))])
	}
	want := p.nextHop(by)
	deadline := time.Now().Add(patience)
	for len(check) > 0 {
		got, err := p.router.Has(p.b.ctx, check[0])
		if err != nil {
			return time.Time{}, err
		}
		if got == want {
			check = check[1:]
			continue
		}
		if s := p.sessions[by]; s.Err() != nil {
			return time.Time{}, fmt.Errorf("session with %s: %w", p.Peers[by].Name, s.Err())
		}
		if time.Now().After(deadline) {
			return time.Time{}, fmt.Errorf("%s still goes to %s, want %s", check[0], got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Now(), nil
}

// quiet waits until the router does next to nothing, a minute at most.
func (p *play) quiet() error {
	last, err := p.router.Usage()
	if err != nil {
		return err
	}
	for range 120 {
		time.Sleep(500 * time.Millisecond)
		now, err := p.router.Usage()
		if err != nil {
			return err
		}
		if now.CPU-last.CPU <= 20*time.Millisecond {
			return nil
		}
		last = now
	}
	return nil
}

// settle is how long a router's processor time is counted on after the end of a phase: garbage collection and the like.
const settle = time.Second

// phase measures seconds and processor seconds of what do does; do returns when it was done.
func (p *play) phase(do func() (time.Time, error)) (wall, cpu float64, err error) {
	before, err := p.router.Usage()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	done, err := do()
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(settle)
	after, err := p.router.Usage()
	return done.Sub(start).Seconds(), (after.CPU - before.CPU).Seconds(), err
}

const mebi = 1 << 20

// wants picks n destinations over the offers' prefixes, with the neighbor that each shall be sent by: the best offer
// among those of the longest prefix that covers it.
func (p *play) wants(offers []stream.Offer, n int) []site.Want {
	best := stream.Best(offers)
	var all []netip.Prefix
	for _, o := range offers {
		all = append(all, o.Table.Prefixes()...)
	}
	random := rand.New(rand.NewPCG(5, 5))
	var out []site.Want
	for len(out) < n {
		q := all[random.IntN(len(all))]
		if q.Bits() == 0 {
			continue
		}
		d := q.Addr().Next()
		q = longest(best, d)
		out = append(out, site.Want{Destination: d, Peer: p.Peers[best[q]], Prefix: q})
	}
	return out
}

func longest(best map[netip.Prefix]int, d netip.Addr) netip.Prefix {
	for bits := d.BitLen(); bits >= 0; bits-- {
		q, err := d.Prefix(bits)
		if err != nil {
			panic("bench: " + err.Error())
		}
		if _, ok := best[q]; ok {
			return q
		}
	}
	return netip.Prefix{}
}

func destinations(wants []site.Want) []netip.Addr {
	var out []netip.Addr
	for _, w := range wants {
		out = append(out, w.Destination)
	}
	return out
}
