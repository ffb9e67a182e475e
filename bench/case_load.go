package main

import (
	"math"
	"net/netip"
	"time"

	"bothways/bench/router"
	"bothways/bench/site"
	"bothways/bench/stat"
	"bothways/bench/stream"
)

// AS numbers of the generated neighbors.
const (
	betterAS = 64601
	worseAS  = 64602
)

var (
	default4 = netip.MustParsePrefix("0.0.0.0/0")
	default6 = netip.MustParsePrefix("::/0")
)

// pair is the same table from a better and a worse neighbor, each with a default route in front.
func pair(n int) (better, worse stream.Table) {
	return stream.Generate(n, 1, betterAS, 0).WithDefault(default4, betterAS),
		stream.Generate(n, 1, worseAS, 1).WithDefault(default4, worseAS, worseAS)
}

// caseLoad is into the RIB: a peer announces, a second, better one announces the same, and the better one drops.
func caseLoad(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{
		{Name: "load s", Ratio: true}, {Name: "load CPU s", Ratio: true}, {Name: "churn s"}, {Name: "churn CPU s"}, {Name: "drop s"}, {Name: "drop CPU s"},
		{Name: "peak MiB, 1 peer"}, {Name: "peak MiB, 2 peers", Ratio: true},
	}}
	better, worse := pair(b.routes)
	var all []variant
	for _, k := range b.kinds("BIRD", "Bothways", "FRR", "OpenBGPD", "GoBGP") {
		all = append(all, variant{k.name, k, router.Setup{}})
	}
	b.alternate(r, b.rounds, baseFirst(all), func(v variant) ([]float64, error) {
		p, err := b.start(v, site.Options{AS: []uint32{betterAS, worseAS}})
		if err != nil {
			return nil, err
		}
		defer p.close()
		var out []float64
		for _, say := range []struct {
			by int
			t  stream.Table
		}{{1, worse}, {0, better}} {
			bytes := stream.Encode(say.t, p.nextHop(say.by))
			wall, cpu, err := p.phase(func() (time.Time, error) {
				if err := p.say(map[int][]byte{say.by: bytes}); err != nil {
					return time.Time{}, err
				}
				return p.holds(say.t, say.by)
			})
			if err != nil {
				return nil, err
			}
			u, err := p.router.Usage()
			if err != nil {
				return nil, err
			}
			out = append(out, wall, cpu, float64(u.Peak)/mebi)
		}
		wall, cpu, err := p.phase(func() (time.Time, error) {
			p.sessions[0].Close()
			return p.holds(worse, 1)
		})
		if err != nil {
			return nil, err
		}
		return []float64{out[0], out[1], out[3], out[4], wall, cpu, out[2], out[5]}, nil
	})
	return []section{{text: `A peer announces; a second, better peer announces the same; the better peer's TCP session is closed. Done is when the last prefix and 16 others
answer with the right next hop. Processor time is of all processes of the router, until a second after the end. Nothing is exported to the kernel but by
Bothways, which cannot do without: compressed, what the default route does not answer already.`, result: r}}
}

// baseFirst puts the row that ratios are to in front.
func baseFirst(all []variant) []variant {
	var first, rest []variant
	for _, v := range all {
		if v.kind.name == "BIRD" {
			first = append(first, v)
		} else {
			rest = append(rest, v)
		}
	}
	return append(first, rest...)
}

// caseMemory is two peers that announce at the same time, the better one in front by a length.
func caseMemory(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{{Name: "peak MiB", Ratio: true}, {Name: "a while after, MiB", Ratio: true}, {Name: "s"}, {Name: "CPU s"}}}
	better, worse := pair(b.routes)
	var all []variant
	for _, k := range b.kinds("BIRD", "Bothways", "FRR") {
		all = append(all, variant{k.name, k, router.Setup{}})
	}
	b.alternate(r, b.rounds, baseFirst(all), func(v variant) ([]float64, error) {
		p, err := b.start(v, site.Options{AS: []uint32{betterAS, worseAS}})
		if err != nil {
			return nil, err
		}
		defer p.close()
		streams := map[int][]byte{0: stream.Encode(better, p.nextHop(0)), 1: stream.Encode(worse, p.nextHop(1))}
		wall, cpu, err := p.phase(func() (time.Time, error) {
			if err := p.say(streams); err != nil {
				return time.Time{}, err
			}
			return p.holds(better, 0)
		})
		if err != nil {
			return nil, err
		}
		if err := p.quiet(); err != nil {
			return nil, err
		}
		u, err := p.router.Usage()
		return []float64{float64(u.Peak) / mebi, float64(u.Now) / mebi, wall, cpu}, err
	})
	return []section{{text: "Two peers announce the whole table at the same time. Memory is resident memory (VmHWM, VmRSS), summed over the router's processes.", result: r}}
}

// caseKernel is from the first UPDATE until the kernel forwards by the table, and until it has every route.
func caseKernel(b *bench) []section {
	r := &stat.Result{Columns: tableColumns}
	table := stream.Generate(b.routes, 1, betterAS, 0)
	var all []variant
	for _, k := range b.kinds("BIRD", "Bothways", "FRR") {
		all = append(all, variant{k.name, k, router.Setup{Kernel: true, Whole: true}})
	}
	b.alternate(r, b.rounds, baseFirst(all), func(v variant) ([]float64, error) {
		p, err := b.start(v, site.Options{AS: []uint32{betterAS, worseAS}})
		if err != nil {
			return nil, err
		}
		defer p.close()
		bytes := stream.Encode(table, p.nextHop(0))
		wants := append(p.wants([]stream.Offer{{Table: table}}, 500), last(p, table))
		wall, whole, cpu, err := p.into(map[int][]byte{0: bytes}, wants, true)
		if err != nil {
			return nil, err
		}
		u, err := p.router.Usage()
		return []float64{wall, whole, cpu, float64(u.Peak) / mebi}, err
	})
	return []section{{text: "One peer announces; the first column ends when the kernel sends to the last prefix and 500 others by it, the second when their own prefixes are in it. Bothways with `compress: false`.", result: r}}
}

// tableColumns are those of tables on their way into the kernel.
var tableColumns = []stat.Column{{Name: "s", Ratio: true}, {Name: "all prefixes in the kernel, s", Ratio: true}, {Name: "CPU s", Ratio: true}, {Name: "peak MiB", Ratio: true}}

// into has peers send their streams and measures until the kernel goes by them, and, where all shall be in it, until it has the prefixes;
// otherwise that is NaN.
func (p *play) into(streams map[int][]byte, wants []site.Want, all bool) (wall, whole, cpu float64, err error) {
	whole = math.NaN()
	wall, cpu, err = p.phase(func() (time.Time, error) {
		start := time.Now()
		if err := p.say(streams); err != nil {
			return time.Time{}, err
		}
		done, err := p.Await(wants, patience)
		if err != nil || !all {
			return done, err
		}
		last, err := p.AwaitPrefixes(wants, patience)
		whole = last.Sub(start).Seconds()
		return done, err
	})
	return wall, whole, cpu, err
}

// last is the destination that is announced last.
func last(p *play, t stream.Table) site.Want {
	all := t.Prefixes()
	q := all[len(all)-1]
	return site.Want{Destination: q.Addr().Next(), Peer: p.Peers[0], Prefix: q}
}

// realTables is the three neighbors' tables: a circuit, and two ISPs with a default each.
func realTables() ([]stream.Offer, error) {
	var offers []stream.Offer
	for i, f := range []struct {
		name string
		as   uint32
	}{{"microsoft-peering", 12076}, {"isp-a", 2497}, {"isp-b", 4777}} {
		t, err := stream.Feed(f.name, f.as, false)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			t = t.WithDefault(default4, f.as)
		}
		offers = append(offers, stream.Offer{Table: t, Preferred: i == 0})
	}
	return offers, nil
}

var realSite = site.Options{AS: []uint32{12076, 2497, 4777}, Circuits: 1}

// realVariants are the routers on the real tables; Bothways in both ways.
func (b *bench) realVariants() []variant {
	var all []variant
	for _, k := range b.kinds("BIRD", "Bothways", "FRR") {
		if k.name == "Bothways" {
			all = append(all, variant{"Bothways, compressed", k, router.Setup{Kernel: true}})
			all = append(all, variant{"Bothways, `compress: false`", k, router.Setup{Kernel: true, Whole: true}})
			continue
		}
		all = append(all, variant{k.name, k, router.Setup{Kernel: true}})
	}
	return baseFirst(all)
}

// compressed reports whether a variant leaves out routes that follow what covers them.
func (v variant) compressed() bool { return v.kind.name == "Bothways" && !v.setup.Whole }

// caseTables is the real tables of a circuit and two ISPs, into the kernel.
func caseTables(b *bench) []section {
	r := &stat.Result{Columns: tableColumns}
	offers, err := realTables()
	if err != nil {
		r.Fail("tables", err.Error())
		return []section{{result: r}}
	}
	b.alternate(r, b.rounds, b.realVariants(), func(v variant) ([]float64, error) {
		p, err := b.start(v, realSite)
		if err != nil {
			return nil, err
		}
		defer p.close()
		streams := map[int][]byte{}
		for i := range offers {
			streams[i] = stream.Encode(offers[i].Table, p.nextHop(i))
		}
		wall, whole, cpu, err := p.into(streams, p.wants(offers, 500), !v.compressed())
		if err != nil {
			return nil, err
		}
		u, err := p.router.Usage()
		return []float64{wall, whole, cpu, float64(u.Peak) / mebi}, err
	})
	return []section{{text: "The tables of two ISPs on one day (318,457 and 323,485 routes, and a default each) and the feed of a circuit (10,143 IPv4 routes), announced at the same time. The first column ends when the kernel sends to 500 destinations by the neighbors that the decision from scratch names, the second when their own prefixes are in it. With `compress: false` Bothways writes first what changes the way of packets.", result: r}}
}
