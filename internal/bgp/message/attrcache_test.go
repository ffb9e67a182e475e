package message

import (
	"encoding/binary"
	"hash/maphash"
	"testing"

	"bothways/internal/route"
)

// TestAttrCache finds what was added and nothing else, also where hashes are equal.
func TestAttrCache(t *testing.T) {
	seed := maphash.MakeSeed()
	for name, hash := range map[string]func([]byte) uint32{
		"hashed": func(k []byte) uint32 { return attrHash(seed, k) },
		"equal":  func(k []byte) uint32 { return 7 + uint32(k[0]&1) },
	} {
		t.Run(name, func(t *testing.T) {
			var c attrCache
			key := func(i int) []byte { return binary.BigEndian.AppendUint32(make([]byte, i%300), uint32(i)) }
			sets := map[int]*route.Attrs{}
			for i := range 2000 {
				k := key(i)
				if c.get(hash(k), k) != nil {
					t.Fatalf("%d is there before it is added", i)
				}
				sets[i] = &route.Attrs{MED: uint32(i)}
				c.add(hash(k), k, sets[i], nil)
				clear(k) // it has its own
			}
			for i := range 2000 {
				k := key(i)
				if s := c.get(hash(k), k); s == nil || s.attrs != sets[i] {
					t.Fatalf("%d is not what was added", i)
				}
			}
		})
	}
}
