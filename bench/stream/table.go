package stream

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"bothways/internal/lab/feed"
)

// Set is an attribute set with the prefixes that share it. Path is whole: its first number is the announcing neighbor's.
type Set struct {
	Path        []uint32
	PathSet     []uint32 // an AS_SET that ends the path
	Communities []uint32
	Prefixes    []netip.Prefix
}

// Table is what one neighbor announces, in its order.
type Table []Set

// Len is the number of routes.
func (t Table) Len() int {
	n := 0
	for _, s := range t {
		n += len(s.Prefixes)
	}
	return n
}

// Prefixes lists all prefixes in the order in which they are announced.
func (t Table) Prefixes() []netip.Prefix {
	out := make([]netip.Prefix, 0, t.Len())
	for _, s := range t {
		out = append(out, s.Prefixes...)
	}
	return out
}

// lengths is the share of each prefix length in the default-free zone, in thousandths (CIDR reports, 2024).
var lengths = []struct{ bits, share int }{
	{24, 600}, {23, 98}, {22, 118}, {21, 54}, {20, 46}, {19, 28}, {18, 16}, {17, 10}, {16, 16}, {15, 4}, {14, 4}, {13, 3}, {12, 2}, {11, 1},
}

// perSet is how many prefixes share an attribute set on average, as a full table has it.
const perSet = 1000.0 / 60

// Generate makes a table of n IPv4 routes without a default. The same seed gives the same prefixes and sets, whoever
// announces them. Behind the neighbor's number a path has hops more numbers than the table with 0 hops.
func Generate(n int, seed uint64, neighbor uint32, hops int) Table {
	random := rand.New(rand.NewPCG(seed, 1))
	seen := make(map[netip.Prefix]bool, n)
	var out Table
	for len(seen) < n {
		s := Set{Path: []uint32{neighbor}}
		for range 2 + random.IntN(4) {
			s.Path = append(s.Path, 1000+uint32(random.IntN(60000)))
		}
		for range hops {
			s.Path = append(s.Path, s.Path[len(s.Path)-1])
		}
		for range random.IntN(4) {
			s.Communities = append(s.Communities, uint32(random.IntN(1<<16))<<16|uint32(random.IntN(1<<16)))
		}
		size := min(1+int(random.ExpFloat64()*(perSet-0.5)), n-len(seen))
		for len(s.Prefixes) < size {
			if p := prefix(random); usable(p) && !seen[p] {
				seen[p] = true
				s.Prefixes = append(s.Prefixes, p)
			}
		}
		out = append(out, s)
	}
	return out
}

func prefix(random *rand.Rand) netip.Prefix {
	at, bits := random.IntN(1000), 24
	for _, l := range lengths {
		if at -= l.share; at < 0 {
			bits = l.bits
			break
		}
	}
	v := random.Uint32()
	p, err := netip.AddrFrom4([4]byte{byte(1 + v>>24%223), byte(v >> 16), byte(v >> 8), 0}).Prefix(bits)
	if err != nil {
		panic("stream: " + err.Error())
	}
	return p
}

// reserved is what no neighbor may announce, or what the measurement itself uses.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.0.0.0/16"),
	netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.16.0.0/14"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
}

func usable(p netip.Prefix) bool {
	for _, r := range reserved {
		if r.Overlaps(p) {
			return false
		}
	}
	return true
}

// WithDefault puts the default route of a family, with the shortest path, in front.
func (t Table) WithDefault(p netip.Prefix, path ...uint32) Table {
	return append(Table{{Path: path, Prefixes: []netip.Prefix{p}}}, t...)
}

// Without is the table less the prefixes that contain one of some hosts.
func (t Table) Without(hosts []netip.Addr) Table {
	out := make(Table, 0, len(t))
	for _, s := range t {
		s.Prefixes = slices.DeleteFunc(slices.Clone(s.Prefixes), func(p netip.Prefix) bool { return slices.ContainsFunc(hosts, p.Contains) })
		if len(s.Prefixes) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// Feed is a real table, as its neighbor announces it; routes with the same attributes share a set.
func Feed(name string, neighbor uint32, v6 bool) (Table, error) {
	routes, err := feed.Load(name, neighbor)
	if err != nil {
		return nil, err
	}
	var out Table
	index := map[string]int{}
	for _, r := range routes {
		if r.Prefix.Addr().Is6() != v6 || !usable(r.Prefix) {
			continue
		}
		s := Set{Path: append([]uint32{neighbor}, r.Path...), PathSet: r.Set, Communities: r.Communities}
		key := string(s.attributes(netip.IPv4Unspecified()))
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, s)
		}
		out[i].Prefixes = append(out[i].Prefixes, r.Prefix)
	}
	return out, nil
}

// Group spreads real prefixes that came without paths over made-up attribute sets, as Generate makes them.
func Group(prefixes []netip.Prefix, seed uint64, neighbor uint32, hops int) Table {
	random := rand.New(rand.NewPCG(seed, 2))
	shuffled := append([]netip.Prefix(nil), prefixes...)
	random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	out := Generate(len(prefixes), seed, neighbor, hops)
	for i := range out {
		n := len(out[i].Prefixes)
		out[i].Prefixes, shuffled = shuffled[:n], shuffled[n:]
	}
	return out
}
