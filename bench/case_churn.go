package main

import (
	"net/netip"
	"time"

	"bothways/bench/router"
	"bothways/bench/site"
	"bothways/bench/stat"
	"bothways/bench/stream"
)

// replays is how often the updates are sent, so that their cost is more than the clock's step.
const replays = 20

// updatesFile is a quarter of an hour of a route collector (RIPE-NCC/bgpdump's test data), where the decoder's tests have it.
const updatesFile = "internal/bgp/message/testdata/updates.20160811.1600.gz"

// caseChurn replays real updates on top of a real table.
func caseChurn(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{{Name: "CPU s", Ratio: true}, {Name: "s", Ratio: true}}}
	var all []variant
	for _, k := range b.kinds("BIRD", "Bothways", "FRR", "OpenBGPD") {
		all = append(all, variant{k.name, k, router.Setup{}})
	}
	table, err := stream.Feed("isp-a", betterAS, false)
	if err != nil {
		r.Fail("table", err.Error())
		return []section{{result: r}}
	}
	table = table.WithDefault(default4, betterAS)
	b.alternate(r, b.rounds, baseFirst(all), func(v variant) ([]float64, error) {
		p, err := b.start(v, site.Options{AS: []uint32{betterAS, worseAS}})
		if err != nil {
			return nil, err
		}
		defer p.close()
		updates, err := stream.Recorded(updatesFile, betterAS, p.nextHop(0))
		if err != nil {
			return nil, err
		}
		if err := p.say(map[int][]byte{0: stream.Encode(table, p.nextHop(0))}); err != nil {
			return nil, err
		}
		if _, err := p.holds(table, 0); err != nil {
			return nil, err
		}
		if err := p.quiet(); err != nil {
			return nil, err
		}
		var all []byte
		for range replays {
			all = append(all, updates...)
		}
		mark := stream.Table{{Path: []uint32{betterAS, 64777}, Prefixes: []netip.Prefix{netip.MustParsePrefix("223.255.254.0/24")}}}
		all = append(all, stream.Encode(mark, p.nextHop(0))...)
		wall, cpu, err := p.phase(func() (time.Time, error) {
			if err := p.say(map[int][]byte{0: all}); err != nil {
				return time.Time{}, err
			}
			return p.holds(mark, 0)
		})
		return []float64{cpu, wall}, err
	})
	return []section{{text: "The IPv4 part of a quarter of an hour of a route collector, with next hop and first AS of the neighbor, replayed 20 times on top of one ISP's table as fast as the router takes it.", result: r}}
}
