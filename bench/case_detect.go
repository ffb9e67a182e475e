package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"bothways/bench/router"
	"bothways/bench/site"
	"bothways/bench/stat"
	"bothways/bench/stream"
)

// watchBFD is how long packets are watched after they have moved, a hundred times over.
const watchBFD = 600 * time.Millisecond

// bfdShare is how many times more rounds Bothways has than the others, in which nothing is to be shown.
const bfdShare = 10

// caseBFD is a wire that is silent of a sudden, found by BFD.
func caseBFD(b *bench) []section {
	better, worse := pair(1000)
	offers := []stream.Offer{{Table: better}, {Table: worse}}
	var out []section
	for i, interval := range []time.Duration{300 * time.Millisecond, 50 * time.Millisecond} {
		r := bfdResult()
		all := b.bfdVariants(interval, false)
		for round := range b.bfdRounds {
			now := all
			if round >= max(b.bfdRounds/bfdShare, 1) {
				now = slices.DeleteFunc(slices.Clone(all), func(v variant) bool { return v.kind.name != "Bothways" })
			}
			b.alternate(r, 1, now, func(v variant) ([]float64, error) { return b.silent(v, offers, interval, watchBFD) })
		}
		text := fmt.Sprintf("%s × 3:", interval)
		if i == 0 {
			text = fmt.Sprintf("1,000 routes from each of two neighbors; from one moment on the better one's wire lets nothing pass, but has its carrier. BFD at the neighbors is BIRD's for all. The detection time counts from the arrival of the last BFD packet. Bothways %d times, the others a tenth of that.\n\n%s", b.bfdRounds, text)
		}
		out = append(out, section{text: text, result: r})
	}
	r := bfdResult()
	better, worse = pair(b.routes)
	b.alternate(r, b.rounds, b.bfdVariants(50*time.Millisecond, true), func(v variant) ([]float64, error) {
		return b.silent(v, []stream.Offer{{Table: better}, {Table: worse}}, 50*time.Millisecond, watchAtLeast)
	})
	return append(out, section{text: fmt.Sprintf("50ms × 3 with %d routes from each:", b.routes), result: r})
}

func bfdResult() *stat.Result {
	return &stat.Result{Columns: []stat.Column{{Name: "moved after the detection time, ms", Ratio: true}, {Name: "over 10 ms", Of: true}, {Name: "moved after the failure, ms"}, {Name: "packets lost"}}}
}

// bfdVariants are the routers that have BFD; whole adds Bothways with every route in the kernel.
func (b *bench) bfdVariants(interval time.Duration, whole bool) []variant {
	var all []variant
	for _, k := range b.kinds("BIRD", "FRR", "Bothways") {
		if k.name != "Bothways" || !whole {
			all = append(all, variant{k.name, k, router.Setup{Kernel: true, BFD: interval}})
			continue
		}
		all = append(all, variant{"Bothways, compressed", k, router.Setup{Kernel: true, BFD: interval}})
		all = append(all, variant{"Bothways, `compress: false`", k, router.Setup{Kernel: true, Whole: true, BFD: interval}})
	}
	return baseFirst(all)
}

func (b *bench) silent(v variant, offers []stream.Offer, interval, while time.Duration) ([]float64, error) {
	p, wants, far, err := b.withBFD(v, offers, interval)
	if err != nil {
		return nil, err
	}
	defer p.close()
	defer far.Stop()
	sniffer, err := p.Sniff(p.Peers[0])
	if err != nil {
		return nil, err
	}
	defer sniffer.Close()
	at, took, lost, err := p.moved(1, wants, silence, while)
	if err != nil {
		return nil, err
	}
	if sniffer.Last() == 0 {
		return nil, fmt.Errorf("no BFD packet was seen")
	}
	detected := time.Unix(0, sniffer.Last()).Add(3 * interval)
	after, late := ms(at.Add(took).Sub(detected)), 0.0
	if after > 10 {
		late = 1
	}
	return []float64{after, late, ms(took), float64(lost)}, nil
}

// withBFD is filled with BFD sessions that are up.
func (b *bench) withBFD(v variant, offers []stream.Offer, interval time.Duration) (*play, []site.Want, *router.FarBFD, error) {
	p, err := b.start(v, pairSite)
	if err != nil {
		return nil, nil, nil, err
	}
	far, err := router.StartFarBFD(p.Site, interval)
	if err != nil {
		p.close()
		return nil, nil, nil, err
	}
	var wants []site.Want
	if err = far.Up(20 * time.Second); err == nil {
		// A router may have ended its sessions while there was no BFD at the other end.
		for i := range p.sessions {
			if p.sessions[i].Err() != nil {
				if err = p.connect(i); err != nil {
					break
				}
			}
		}
	}
	if err == nil {
		wants, err = p.fill(offers)
	}
	if err != nil {
		far.Stop()
		p.close()
		return nil, nil, nil, err
	}
	return p, wants, far, nil
}

// caseProbes is a path that is dead beyond its neighbor, found by probes.
func caseProbes(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{{Name: "longest outage of a destination, ms"}, {Name: "packets lost"}}}
	better, worse := pair(1000)
	target := netip.MustParseAddr("198.51.100.250")
	var all []variant
	for _, k := range b.kinds("Bothways") {
		all = append(all, variant{k.name, k, router.Setup{Kernel: true, Probe: target}})
	}
	b.alternate(r, b.rounds+1, all, func(v variant) ([]float64, error) {
		p, err := b.start(v, pairSite)
		if err != nil {
			return nil, err
		}
		defer p.close()
		if err := p.Answer([]netip.Addr{target}); err != nil {
			return nil, err
		}
		wants, err := p.fill([]stream.Offer{{Table: better}, {Table: worse}})
		if err != nil {
			return nil, err
		}
		st, err := p.Start(b.ctx, destinations(wants[:targets]), rate)
		if err != nil {
			return nil, err
		}
		defer st.Stop()
		time.Sleep(time.Second)
		at := time.Now()
		if err := p.Forget(p.Peers[0], append(destinations(wants[:targets]), target)); err != nil {
			return nil, err
		}
		time.Sleep(watchAtLeast)
		st.Stop()
		lost, longest := st.Lost(at.Add(-time.Millisecond))
		if _, ok := st.Moved(at, p.Peers[1]); !ok {
			return nil, fmt.Errorf("packets did not move")
		}
		return []float64{ms(longest), float64(lost)}, nil
	})
	return []section{{text: "ICMP probes every 100 ms to a target beyond each neighbor, time-out 100 ms, down after 3. What lies beyond the better neighbor is dead of a sudden; the neighbor itself, its session and the carrier are well. The other routers find this by nothing that they have.", result: r}}
}

// caseKill is the daemon killed (-9) and started again under packets.
func caseKill(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{{Name: "packets lost"}, {Name: "reconciled after the last End-of-RIB, s"}, {Name: "started and answering, s"}}}
	better, worse := pair(b.routes)
	offers := []stream.Offer{{Table: better}, {Table: worse}}
	var all []variant
	for _, k := range b.kinds("Bothways") {
		all = append(all, variant{"Bothways, compressed", k, router.Setup{Kernel: true}})
		all = append(all, variant{"Bothways, `compress: false`", k, router.Setup{Kernel: true, Whole: true}})
	}
	b.alternate(r, b.rounds, all, func(v variant) ([]float64, error) { return b.kill(v, offers) })
	return []section{{text: fmt.Sprintf("%d routes from each of two neighbors; the daemon is killed, started again at once, and hears everything again from its neighbors, which keep nothing of the session before.", b.routes), result: r}}
}

func (b *bench) kill(v variant, offers []stream.Offer) ([]float64, error) {
	p, wants, err := b.filled(v, pairSite, offers)
	if err != nil {
		return nil, err
	}
	defer p.close()
	d := p.router.(*router.Bothways)
	st, err := p.Start(b.ctx, destinations(wants[:targets]), rate)
	if err != nil {
		return nil, err
	}
	defer st.Stop()
	time.Sleep(500 * time.Millisecond)
	at := time.Now()
	d.Crash()
	if err := d.Again(b.ctx); err != nil {
		return nil, err
	}
	answering := time.Since(at)
	streams := map[int][]byte{}
	for i := range offers {
		if err := p.connect(i); err != nil {
			return nil, err
		}
		streams[i] = stream.Encode(offers[i].Table, p.nextHop(i))
	}
	if err := p.say(streams); err != nil {
		return nil, err
	}
	said := time.Now()
	if err := b.reconciled(d, said); err != nil {
		return nil, err
	}
	reconciled := time.Since(said)
	if _, err := p.Await(wants, patience); err != nil {
		return nil, err
	}
	time.Sleep(500 * time.Millisecond)
	st.Stop()
	lost, _ := st.Lost(at)
	return []float64{float64(lost), reconciled.Seconds(), answering.Seconds()}, nil
}
