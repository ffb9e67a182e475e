package main

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"bothways/bench/router"
	"bothways/bench/site"
	"bothways/bench/stat"
	"bothways/bench/stream"
)

// rate of the packets whose way is watched, and over how many destinations: so one packet a millisecond to each.
const (
	rate    = 10_000
	targets = 10
)

// watchAtLeast and watchAtMost are how long packets are watched after a failure.
const (
	watchAtLeast = 2 * time.Second
	watchAtMost  = 45 * time.Second
)

// What a router does in the kernel may keep the sender, a process, from its processor for 10 ms: a walk over all of conntrack's
// table, for one. It keeps no packet that comes by a wire. A round in which the sender stood still for longer than tooLate just before
// forwarding had moved says nothing: it is measured again.
const tooLate = 3 * time.Millisecond

var errStood = errors.New("the sender stood still")

// failure is what happens to the better neighbor.
type failure func(p *play) error

// drop ends the session as a process that dies does; the wire is whole.
func drop(p *play) error {
	p.sessions[0].Close()
	return nil
}

// silence lets nothing pass on the wire any more, which keeps its carrier.
func silence(p *play) error { return p.Peers[0].Space.Silence([]string{site.PeerDevice}) }

// carrier takes the wire's carrier away.
func carrier(p *play) error { return p.Peers[0].Space.Down(site.PeerDevice) }

// filled starts a router at a site and waits until its kernel goes by the tables of its neighbors, and it is quiet.
func (b *bench) filled(v variant, o site.Options, offers []stream.Offer) (*play, []site.Want, error) {
	p, err := b.start(v, o)
	if err != nil {
		return nil, nil, err
	}
	wants, err := p.fill(offers)
	if err != nil {
		p.close()
		return nil, nil, err
	}
	return p, wants, nil
}

// fill announces the tables, and waits until the kernel goes by them and the router is at rest.
func (p *play) fill(offers []stream.Offer) ([]site.Want, error) {
	streams := map[int][]byte{}
	for i := range offers {
		streams[i] = stream.Encode(offers[i].Table, p.nextHop(i))
	}
	wants := p.wants(offers, 500)
	if err := p.say(streams); err != nil {
		return nil, err
	}
	if _, err := p.Await(wants, patience); err != nil {
		return nil, err
	}
	if err := p.quiet(); err != nil {
		return nil, err
	}
	return wants, p.Answer(destinations(wants[:targets]))
}

// moved has the failure happen under a stream of packets, and tells when all of them went to another neighbor, and how
// many were lost until they had done so for a while.
func (p *play) moved(to int, wants []site.Want, fail failure, while time.Duration) (at time.Time, took time.Duration, lost int, err error) {
	st, err := p.Start(p.b.ctx, destinations(wants[:targets]), rate)
	if err != nil {
		return at, 0, 0, err
	}
	defer st.Stop()
	time.Sleep(while / 2)
	at = time.Now()
	if err := fail(p); err != nil {
		return at, 0, 0, err
	}
	elsewhere := make([]site.Want, len(wants))
	for i, w := range wants {
		elsewhere[i] = site.Want{Destination: w.Destination, Peer: p.Peers[to]}
	}
	if _, err := p.Await(elsewhere[:targets], watchAtMost); err != nil {
		return at, 0, 0, err
	}
	time.Sleep(while)
	st.Stop()
	took, ok := st.Moved(at, p.Peers[to])
	if !ok {
		return at, 0, 0, fmt.Errorf("packets did not move to %s", p.Peers[to].Name)
	}
	if late := st.Late(at, took); late > tooLate {
		return at, 0, 0, fmt.Errorf("%w for %s", errStood, late)
	}
	lost, _ = st.Lost(at.Add(-time.Millisecond))
	return at, took, lost, nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

var pairSite = site.Options{AS: []uint32{betterAS, worseAS}}

// caseDrop is the better neighbor's session gone with a whole table in the kernel.
func caseDrop(b *bench) []section {
	small := 1000
	result := func(n int) *stat.Result {
		r := &stat.Result{Columns: []stat.Column{{Name: "until forwarding has moved, ms", Ratio: true}, {Name: "packets lost"}, {Name: "until the router is at rest, CPU s"}}}
		better, worse := pair(n)
		offers := []stream.Offer{{Table: better}, {Table: worse}}
		var all []variant
		for _, k := range b.kinds("BIRD", "FRR", "Bothways") {
			if k.name == "Bothways" {
				all = append(all, variant{"Bothways, compressed", k, router.Setup{Kernel: true}})
				all = append(all, variant{"Bothways, `compress: false`", k, router.Setup{Kernel: true, Whole: true}})
				continue
			}
			all = append(all, variant{k.name, k, router.Setup{Kernel: true}})
		}
		b.alternate(r, b.rounds, baseFirst(all), func(v variant) ([]float64, error) {
			return b.failed(v, pairSite, offers, drop)
		})
		return r
	}
	return []section{
		{text: fmt.Sprintf("%d routes from each of two neighbors, packets to %d destinations at %d a second. The better neighbor's TCP session ends; its wire is whole, so packets that go on to it are not lost. Forwarding has moved when every destination's packets arrive at the other neighbor.", b.routes, targets, rate), result: result(b.routes)},
		{text: fmt.Sprintf("The same with %d routes:", small), result: result(small)},
	}
}

// failed measures one failure at a full site.
func (b *bench) failed(v variant, o site.Options, offers []stream.Offer, fail failure) ([]float64, error) {
	p, wants, err := b.filled(v, o, offers)
	if err != nil {
		return nil, err
	}
	defer p.close()
	before, err := p.router.Usage()
	if err != nil {
		return nil, err
	}
	_, took, lost, err := p.moved(1, wants, fail, watchAtLeast)
	if err != nil {
		return nil, err
	}
	if err := p.quiet(); err != nil {
		return nil, err
	}
	after, err := p.router.Usage()
	return []float64{ms(took), float64(lost), (after.CPU - before.CPU).Seconds()}, err
}

// caseCarrier is a carrier lost under packets, with a small table; and a second one within the same second.
func caseCarrier(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{{Name: "packets lost", Ratio: true}, {Name: "until all moved, ms"}}}
	better, worse := pair(1000)
	var all []variant
	for _, k := range b.kinds("BIRD", "FRR", "Bothways") {
		all = append(all, variant{k.name, k, router.Setup{Kernel: true}})
	}
	all = baseFirst(all)
	b.alternate(r, b.rounds+1, all, func(v variant) ([]float64, error) {
		p, wants, err := b.filled(v, pairSite, []stream.Offer{{Table: better}, {Table: worse}})
		if err != nil {
			return nil, err
		}
		defer p.close()
		_, took, lost, err := p.moved(1, wants, carrier, watchAtLeast)
		return []float64{float64(lost), ms(took)}, err
	})
	storm := &stat.Result{Columns: []stat.Column{{Name: "packets lost", Ratio: true}, {Name: "until all moved, ms"}}}
	b.alternate(storm, b.rounds, all, func(v variant) ([]float64, error) {
		return b.inAStorm(v, []stream.Offer{{Table: better}, {Table: worse}, {}})
	})
	second := &stat.Result{Columns: []stat.Column{{Name: "packets lost at both", Ratio: true}, {Name: "second: until all moved, ms"}}}
	third := stream.Generate(1000, 1, 64603, 2).WithDefault(default4, 64603, 64603, 64603)
	b.alternate(second, b.rounds+1, all, func(v variant) ([]float64, error) {
		return b.twoCarriers(v, []stream.Offer{{Table: better}, {Table: worse}, {Table: third}})
	})
	return []section{
		{text: fmt.Sprintf("1,000 routes from each of two neighbors, %d packets a second; the wire to the better one loses its carrier.", rate), result: r},
		{text: fmt.Sprintf("The same %s after a third, worst neighbor has begun to announce %d routes.", stormAge, b.routes), result: storm},
		{text: "Three neighbors on wires whose ends have equal interface indexes, as network cards have: the kernel handles their carrier events at most once a second. The best loses its carrier, and 300 ms later the second best.", result: second},
	}
}

// stormAge is how long a whole table has been coming when a carrier is lost: the fastest router has read the half of it.
const stormAge = 100 * time.Millisecond

// inAStorm loses the better carrier while a third neighbor announces a whole table, of which no packet goes by.
func (b *bench) inAStorm(v variant, offers []stream.Offer) ([]float64, error) {
	p, wants, err := b.filled(v, site.Options{AS: []uint32{betterAS, worseAS, 64603}}, offers)
	if err != nil {
		return nil, err
	}
	defer p.close()
	whole := stream.Encode(stream.Generate(b.routes, 1, 64603, 2).Without(destinations(wants[:targets])), p.nextHop(2))
	var sending sync.WaitGroup
	var sent error
	_, took, lost, err := p.moved(1, wants, func(p *play) error {
		sending.Go(func() { sent = p.say(map[int][]byte{2: whole}) })
		time.Sleep(stormAge)
		return carrier(p)
	}, watchAtLeast)
	sending.Wait()
	return []float64{float64(lost), ms(took - stormAge)}, errors.Join(err, sent)
}

func (b *bench) twoCarriers(v variant, offers []stream.Offer) ([]float64, error) {
	p, wants, err := b.filled(v, site.Options{AS: []uint32{betterAS, worseAS, 64603}, Cards: true}, offers)
	if err != nil {
		return nil, err
	}
	defer p.close()
	// Young wires tell late of a change for reasons of their own.
	time.Sleep(2 * time.Second)
	st, err := p.Start(b.ctx, destinations(wants[:targets]), rate)
	if err != nil {
		return nil, err
	}
	defer st.Stop()
	time.Sleep(time.Second)
	first := time.Now()
	if err := carrier(p); err != nil {
		return nil, err
	}
	time.Sleep(300 * time.Millisecond)
	second := time.Now()
	if err := p.Peers[1].Space.Down(site.PeerDevice); err != nil {
		return nil, err
	}
	time.Sleep(watchAtLeast + time.Second)
	st.Stop()
	took, ok := st.Moved(second, p.Peers[2])
	if !ok {
		return nil, fmt.Errorf("packets did not move to %s", p.Peers[2].Name)
	}
	lost, _ := st.Lost(first)
	return []float64{float64(lost), ms(took)}, nil
}

// caseRefill is a carrier lost under the real tables: until every prefix is back at the tier that is its own.
func caseRefill(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{{Name: "until all at their own tier, ms", Ratio: true}, {Name: "all prefixes in the kernel, ms", Ratio: true}, {Name: "packets without a way"}, {Name: "CPU s until at rest"}}}
	offers, err := realTables()
	if err != nil {
		r.Fail("tables", err.Error())
		return []section{{result: r}}
	}
	// The second neighbor fails: its routes are some of the best, and the fallback of many.
	rest := []stream.Offer{offers[0], {}, offers[2]}
	b.alternate(r, b.rounds, b.realVariants(), func(v variant) ([]float64, error) {
		p, wants, err := b.filled(v, realSite, offers)
		if err != nil {
			return nil, err
		}
		defer p.close()
		before, err := p.router.Usage()
		if err != nil {
			return nil, err
		}
		then := p.wants(rest, 500)
		st, err := p.Start(b.ctx, destinations(wants[:targets]), rate)
		if err != nil {
			return nil, err
		}
		defer st.Stop()
		time.Sleep(time.Second)
		at := time.Now()
		if err := p.Peers[1].Space.Down(site.PeerDevice); err != nil {
			return nil, err
		}
		// Each look takes a few milliseconds: the kernel is asked for all 500 destinations.
		done, err := p.Await(then, patience)
		if err != nil {
			return nil, err
		}
		whole := math.NaN()
		if !v.compressed() {
			all, err := p.AwaitPrefixes(then, patience)
			if err != nil {
				return nil, err
			}
			whole = ms(all.Sub(at))
		}
		time.Sleep(500 * time.Millisecond)
		st.Stop()
		lost, _ := st.Lost(at.Add(-time.Millisecond))
		if err := p.quiet(); err != nil {
			return nil, err
		}
		after, err := p.router.Usage()
		return []float64{ms(done.Sub(at)), whole, float64(lost), (after.CPU - before.CPU).Seconds()}, err
	})
	return []section{{text: "The tables of two ISPs and a circuit; the first ISP's wire loses its carrier. Done is when the kernel sends to 500 destinations by the neighbors that the decision without that ISP names; the second column ends when their own prefixes are in it. Packets without a way are those lost from then on, those on the wire included.", result: r}}
}

// ipv6Offers is the real IPv6 table from two neighbors, with made-up attribute sets.
func ipv6Offers() ([]stream.Offer, error) {
	prefixes, err := stream.IPv6()
	if err != nil {
		return nil, err
	}
	return []stream.Offer{
		{Table: stream.Group(prefixes, 1, betterAS, 0).WithDefault(default6, betterAS)},
		{Table: stream.Group(prefixes, 1, worseAS, 1).WithDefault(default6, worseAS, worseAS)},
	}, nil
}

// caseIPv6 is the better neighbor's session gone, with the real IPv6 table.
func caseIPv6(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{{Name: "until forwarding has moved, ms", Ratio: true}, {Name: "packets lost"}, {Name: "until the router is at rest, CPU s"}}}
	offers, err := ipv6Offers()
	if err != nil {
		r.Fail("table", err.Error())
		return []section{{result: r}}
	}
	var all []variant
	for _, k := range b.kinds("BIRD", "FRR", "Bothways") {
		all = append(all, variant{k.name, k, router.Setup{Kernel: true, IPv6: true}})
	}
	b.alternate(r, b.rounds, baseFirst(all), func(v variant) ([]float64, error) {
		return b.failed(v, pairSite, offers, drop)
	})
	return []section{{text: fmt.Sprintf("%d real IPv6 prefixes from each of two neighbors, and a default; as above, the better neighbor's session ends.", offers[0].Table.Len()-1), result: r}}
}
