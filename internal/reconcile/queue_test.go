package reconcile

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bothways/internal/kstate"
)

// TestQueue: what is in comes out once, lower levels first, and those of one level in the order in which they came.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type item struct {
			level int
			place uint32
		}
		var q, other queue
		var have, set []item
		for place := range uint32(rapid.IntRange(1, 300).Draw(t, "steps")) {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				if len(have) == 0 {
					continue
				}
				want := slices.MinFunc(have, func(a, b item) int { return a.level - b.level })
				if got := q.next(); got != want.place {
					t.Fatalf("next is %d, want %d of level %d", got, want.place, want.level)
				}
				have = slices.Delete(have, slices.Index(have, want), slices.Index(have, want)+1)
			case 1:
				q.addAll(&other)
				have, set = append(have, set...), nil
			case 2:
				level := rapid.IntRange(0, maxLevel).Draw(t, "level")
				other.add(level, place)
				set = append(set, item{level, place})
			default:
				level := rapid.IntRange(0, maxLevel).Draw(t, "level")
				q.add(level, place)
				have = append(have, item{level, place})
			}
			if q.n != len(have) || other.n != len(set) {
				t.Fatalf("%d and %d queued, want %d and %d", q.n, other.n, len(have), len(set))
			}
		}
	})
}

// TestLevels: a whole table that is wanted in the order of its addresses is written level by level, that of a link behind it, and
// last what follows its cover. A default that changes comes behind what shall not follow it.
func TestLevels(t *testing.T) {
	m := newModel()
	const many = 3000
	follows := func(k kstate.RouteKey) bool {
		return k.Table == kstate.Table && k.Prefix.Bits() > 0 && k.Prefix.Addr().As4()[2]%3 == 0
	}
	for i := range uint32(many) {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24+i<<8)
		key := kstate.RouteKey{Table: kstate.Table + i%2, Prefix: netip.PrefixFrom(netip.AddrFrom4(a), 24), Metric: kstate.MetricTier}
		m.routes.change(key, func(p *routePair) { p.wantType, p.follows = kstate.Blackhole, follows(key) })
	}
	all := kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix("0.0.0.0/0"), Metric: kstate.MetricRanking}
	m.routes.change(all, func(p *routePair) { p.wantType = kstate.Blackhole })
	if l := m.dirtyPuts(); l.changes[0].Route.RouteKey != all {
		t.Errorf("a default that is not there comes behind %s", l.changes[0].Route)
	} else {
		m.routes.wrote(&l.changes[0], l.places[0])
		for i := 1; i < len(l.changes); i++ {
			m.routes.again(&l.changes[i], l.places[i])
		}
	}
	m.routes.change(all, func(p *routePair) { p.wantType = kstate.Throw })
	zeros, part, written, changed := 32, 0, [3]int{}, 0
	for {
		l := m.dirtyPuts()
		if len(l.changes) == 0 {
			break
		}
		for i, c := range l.changes {
			a := c.Route.Prefix.Addr().As4()
			here := 0
			switch {
			case follows(c.Route.RouteKey):
				here = 2
			case c.Route.Table != kstate.Table:
				here = 1
			}
			if here < part {
				t.Fatalf("%s is written behind part %d", c.Route, part)
			} else if here > part {
				zeros, part = 32, here
			}
			if c.Route.RouteKey == all {
				if part != 0 {
					t.Errorf("a default that changes is written behind %d", written)
				}
				changed = written[0]
				m.routes.wrote(&l.changes[i], l.places[i])
				continue
			}
			z := bits.TrailingZeros32(binary.BigEndian.Uint32(a[:]))
			if z > zeros {
				t.Fatalf("%s is written behind one with %d zeros at its end", c.Route.Prefix, zeros)
			}
			zeros = z
			m.routes.wrote(&l.changes[i], l.places[i])
			written[part]++
		}
	}
	if written[0]+written[1]+written[2] != many || changed != written[0] {
		t.Errorf("%d were written, want %d; the default behind %d", written, many, changed)
	}
}
