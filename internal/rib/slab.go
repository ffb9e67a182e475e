package rib

// slabBits gives chunks of 4096 elements.
const slabBits = 12

// slab is a growing array whose elements stay where they are: growing copies nothing, and leaves no old array behind.
// An element without pointers costs the garbage collector nothing.
type slab[T any] struct {
	chunks []*[1 << slabBits]T
	n      uint32
}

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>slabBits][i&(1<<slabBits-1)] }

// add gives the index of a new element, which is zero.
func (s *slab[T]) add() uint32 {
	i := s.n
	if int(i>>slabBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([1 << slabBits]T))
	}
	s.n++
	return i
}
