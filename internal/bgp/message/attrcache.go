package message

import (
	"bytes"
	"hash/maphash"

	"bothways/internal/route"
)

// attrCache interns attribute sets by the bytes that they came from. Nearly every UPDATE of a full table has a set that is
// new, so what counts is to add one: the table of places has no pointers, and grows without a look at the sets.
type attrCache struct {
	places []uint64 // open addressing; the hash in the upper half, the number of the set and 1 in the lower; 0: free
	sets   [][]cached
	n      int
	bytes  []byte // room for keys
}

// cached is a set that has no error, with its key: the bytes of all attributes but the multiprotocol ones, then the next hop of
// MP_REACH_NLRI, then what tells the uses of the same bytes apart. Nearly none has something to be told.
type cached struct {
	key         []byte
	attrs       *route.Attrs
	diagnostics []Diagnostic
}

const (
	cachedChunk = 256     // sets
	keyChunk    = 8 << 10 // bytes
	firstPlaces = 256
	memoryPage  = 4 << 10
)

// attrHash is a hash of a key that no neighbor can foresee.
func attrHash(seed maphash.Seed, key []byte) uint32 { return uint32(maphash.Bytes(seed, key)) }

// get gives what was added under a key; nil: nothing was.
func (c *attrCache) get(hash uint32, key []byte) *cached {
	if c.n == 0 {
		return nil
	}
	for at := c.at(hash); ; at = c.at(at + 1) {
		p := c.places[at]
		if p == 0 {
			return nil
		}
		if uint32(p>>32) == hash {
			if s := c.set(uint32(p) - 1); bytes.Equal(s.key, key) {
				return s
			}
		}
	}
}

func (c *attrCache) at(hash uint32) uint32 { return hash & uint32(len(c.places)-1) }

func (c *attrCache) set(i uint32) *cached { return &c.sets[i/cachedChunk][i%cachedChunk] }

// add adds a set under a key that is not there yet. The key is copied.
func (c *attrCache) add(hash uint32, key []byte, attrs *route.Attrs, diagnostics []Diagnostic) {
	if c.n*4 >= len(c.places)*3 {
		c.grow()
	}
	if c.n/cachedChunk == len(c.sets) {
		c.sets = append(c.sets, make([]cached, cachedChunk))
	}
	if len(c.bytes) < len(key) {
		c.bytes = make([]byte, max(keyChunk, len(key)))
	}
	own := c.bytes[:len(key):len(key)]
	c.bytes = c.bytes[len(key):]
	copy(own, key)
	*c.set(uint32(c.n)) = cached{own, attrs, diagnostics}
	c.n++
	c.put(uint64(hash)<<32 | uint64(c.n))
}

func (c *attrCache) put(place uint64) {
	at := c.at(uint32(place >> 32))
	for c.places[at] != 0 {
		at = c.at(at + 1)
	}
	c.places[at] = place
}

func (c *attrCache) grow() {
	old := c.places
	c.places = make([]uint64, max(2*len(old), firstPlaces))
	// Memory that is read before it is written costs the kernel a second fault, and every processor an interrupt.
	for at := 0; at < len(c.places); at += memoryPage / 8 {
		c.places[at] = 0
	}
	for _, p := range old {
		if p != 0 {
			c.put(p)
		}
	}
}
