package rib

import "iter"

// slabBits gives chunks of 4096 elements.
const slabBits = 12

// slab is a growing array whose elements stay where they are: growing copies nothing, and leaves no old array behind.
// An element without pointers costs the garbage collector nothing.
type slab[T any] struct {
	chunks []*[1 << slabBits]T
	n      uint32
}

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>slabBits][i&(1<<slabBits-1)] }

// add gives the index of a new element: zero, but after empty.
func (s *slab[T]) add() uint32 {
	i := s.n
	if int(i>>slabBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([1 << slabBits]T))
	}
	s.n++
	return i
}

// grow adds n elements.
func (s *slab[T]) grow(n uint32) {
	for s.n += n; len(s.chunks)<<slabBits < int(s.n); {
		s.chunks = append(s.chunks, new([1 << slabBits]T))
	}
}

// all walks the elements in the order in which they were added.
func (s *slab[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := uint32(0); i < s.n && yield(s.at(i)); i++ {
		}
	}
}

// empty forgets the elements, and keeps the room of so many of them. Elements that are added again are what they were.
func (s *slab[T]) empty(keep int) {
	s.n = 0
	if n := keep >> slabBits; len(s.chunks) > n {
		clear(s.chunks[n:])
		s.chunks = s.chunks[:n]
	}
}
