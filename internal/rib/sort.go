package rib

import "bothways/internal/route"

// sort orders what was said by prefix, and what is about one prefix as it was said: by one byte of the key after the other,
// from the last on, without those that are the same in all. Which byte that is, is outside the loops: they run millions of times.
func (s *stage) sort(f route.Family) {
	var to stage
	to.said.grow(s.said.n)
	to.lows.grow(s.lows.n)
	if f == route.IPv6 {
		bits, los := s.countLow()
		s.sortBy(&to, bits, func(to *stage, _ uint, places *[256]uint32) { s.dealBits(to, places) })
		s.sortBy(&to, los[:], s.dealLo)
	}
	ranks := s.countRank()
	s.sortBy(&to, ranks[:], s.dealRank)
}

// counts are, by value of a byte, how many have it.
type counts [256]uint32

// places turns counts into where the first of each value belongs; false: all have the same.
func (c *counts) places(n uint32) (*[256]uint32, bool) {
	at := uint32(0)
	var places [256]uint32
	for v, k := range c {
		if k == n {
			return nil, false
		}
		places[v] = at
		at += k
	}
	return &places, true
}

// sortBy deals by each byte, the lowest first, back and forth between the stage and to.
func (s *stage) sortBy(to *stage, bytes []counts, deal func(to *stage, shift uint, places *[256]uint32)) {
	for i := range bytes {
		if places, ok := bytes[i].places(s.said.n); ok {
			deal(to, uint(8*i), places)
			s.said, to.said = to.said, s.said
			s.lows, to.lows = to.lows, s.lows
		}
	}
}

func (s *stage) countRank() (bytes [8]counts) {
	for i := range s.said.n {
		r := s.said.at(i).rank
		for b := range bytes {
			bytes[b][uint8(r>>(8*b))]++
		}
	}
	return bytes
}

func (s *stage) countLow() (bits []counts, bytes [8]counts) {
	bits = make([]counts, 1)
	for i := range s.lows.n {
		l := s.lows.at(i)
		bits[0][l.bits]++
		for b := range bytes {
			bytes[b][uint8(l.lo>>(8*b))]++
		}
	}
	return bits, bytes
}

func (s *stage) dealRank(to *stage, shift uint, places *[256]uint32) {
	for i := range s.said.n {
		s.move(to, i, uint8(s.said.at(i).rank>>shift), places)
	}
}

func (s *stage) dealLo(to *stage, shift uint, places *[256]uint32) {
	for i := range s.said.n {
		s.move(to, i, uint8(s.lows.at(i).lo>>shift), places)
	}
}

func (s *stage) dealBits(to *stage, places *[256]uint32) {
	for i := range s.said.n {
		s.move(to, i, s.lows.at(i).bits, places)
	}
}

// move puts the i-th to the next place of its digit.
func (s *stage) move(to *stage, i uint32, digit uint8, places *[256]uint32) {
	at := places[digit]
	places[digit]++
	*to.said.at(at) = *s.said.at(i)
	if s.lows.n > 0 {
		*to.lows.at(at) = *s.lows.at(i)
	}
}
