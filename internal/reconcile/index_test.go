package reconcile

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"bothways/internal/kstate"
)

// TestIndex: what was entered and not forgotten is found, nothing else is, whatever stood in its way before; also where all keys
// share few homes.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRoutes()
		b := &r.six
		if rapid.Bool().Draw(t, "one home") {
			b.index.seed = [2]uint64{} // of those without a space's number and a length
		}
		draw := func() key6 {
			k := key6{hi: uint64(rapid.IntRange(0, 40).Draw(t, "high")) << 56, in: uint16(rapid.IntRange(0, 1).Draw(t, "space")), bits: uint8(rapid.SampledFrom([]int{0, 8, 64, 128}).Draw(t, "bits"))}
			if k.bits == 128 {
				k.lo = uint64(rapid.IntRange(0, 300).Draw(t, "low"))
			}
			return k
		}
		known := map[key6]uint32{}
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			k := draw()
			place, ok := b.find(k)
			if want, there := known[k]; ok != there || ok && place != want {
				t.Fatalf("%v is at %d (%t), want %d (%t)", k, place, ok, want, there)
			}
			switch {
			case !ok:
				known[k] = b.add(k)
			case rapid.Bool().Draw(t, "forget"):
				b.tidy(place) // it is neither wanted nor there
				delete(known, k)
			}
			if b.index.n != len(known) {
				t.Fatalf("%d are known, want %d", b.index.n, len(known))
			}
		}
		for k, want := range known {
			if place, ok := b.find(k); !ok || place != want {
				t.Fatalf("%v is at %d (%t), want %d", k, place, ok, want)
			}
		}
	})
}

// TestIndexSpreads: routes that follow each other, and the same ones in many tables, do not crowd.
func TestIndexSpreads(t *testing.T) {
	for name, key := range map[string]func(i int) key4{
		"hosts":      func(i int) key4 { return key4(10<<24+i)<<32 | 32 },
		"/24s":       func(i int) key4 { return key4(10<<24+i<<8)<<32 | 24 },
		"/16s apart": func(i int) key4 { return key4(i<<20)<<32 | 16 },
		"tables":     func(i int) key4 { return key4(10<<24)<<32 | key4(i%0xffff)<<8 | 24 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newRoutes().four
			n := 0
			for i := range 1 << 14 {
				k := key(i & 0xfff * (1 + i&3))
				if _, ok := b.find(k); !ok {
					b.add(k)
					n++
				}
			}
			steps := 0
			for place := range uint32(n) {
				p, at := b.index.home(b.at(place).key.number())
				for p.slots[at&uint32(len(p.slots)-1)] != place+1 {
					at++
					steps++
				}
			}
			if steps > 4*n {
				t.Errorf("%d steps to %d routes", steps, n)
			}
		})
	}
}

func BenchmarkChange(b *testing.B) {
	for name, step := range map[string]uint32{"in order": 1, "anyhow": 7919 * 31} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var keys []kstate.RouteKey
			for i := range uint32(1 << 20) {
				a := (i*step)%(1<<20)<<8 + 1<<24
				keys = append(keys, kstate.RouteKey{Table: kstate.Table, Metric: 100, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8)}), 24)})
			}
			r := newRoutes()
			b.ResetTimer()
			for i := range b.N {
				if i%len(keys) == 0 {
					r = newRoutes()
				}
				r.change(keys[i%len(keys)], func(p *routePair) { p.wantType, p.want = kstate.Unicast, 7 })
			}
		})
	}
}
