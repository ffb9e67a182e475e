package route

import (
	"strconv"
	"strings"
)

// SegmentKind is the kind of an AS_PATH segment, with the numbers of RFC 4271, section 4.3 and RFC 5065.
type SegmentKind uint8

// Segment kinds.
const (
	Set            SegmentKind = 1
	Sequence       SegmentKind = 2
	ConfedSequence SegmentKind = 3
	ConfedSet      SegmentKind = 4
)

// Segment is one part of an AS path.
type Segment struct {
	Kind SegmentKind
	ASNs []uint32
}

// ASPath is an AS path, nearest AS first.
type ASPath []Segment

// SequencePath returns the path of one sequence, or an empty path.
func SequencePath(asns ...uint32) ASPath {
	if len(asns) == 0 {
		return nil
	}
	return ASPath{{Kind: Sequence, ASNs: asns}}
}

// Len is the length that the decision counts: a set counts one, confederation segments nothing
// (RFC 4271, section 9.1.2.2 a; RFC 5065, section 5.3).
func (p ASPath) Len() int {
	n := 0
	for _, s := range p {
		switch s.Kind {
		case Sequence:
			n += len(s.ASNs)
		case Set:
			n++
		}
	}
	return n
}

// First returns the AS that sent the route, if the path begins with a sequence.
func (p ASPath) First() (uint32, bool) {
	if len(p) == 0 || p[0].Kind != Sequence || len(p[0].ASNs) == 0 {
		return 0, false
	}
	return p[0].ASNs[0], true
}

// Leading is how many times the first AS stands at the beginning.
func (p ASPath) Leading() int {
	first, ok := p.First()
	if !ok {
		return 0
	}
	n := 0
	for _, a := range p[0].ASNs {
		if a != first {
			break
		}
		n++
	}
	return n
}

// Contains reports whether asn stands anywhere in the path.
func (p ASPath) Contains(asn uint32) bool {
	for _, s := range p {
		for _, a := range s.ASNs {
			if a == asn {
				return true
			}
		}
	}
	return false
}

// String prints the path as the field does: "12076 8075", sets in braces.
func (p ASPath) String() string {
	var b strings.Builder
	for i, s := range p {
		if i > 0 {
			b.WriteByte(' ')
		}
		open, sep, end := "", " ", ""
		switch s.Kind {
		case Set:
			open, sep, end = "{", ",", "}"
		case ConfedSequence:
			open, sep, end = "(", " ", ")"
		case ConfedSet:
			open, sep, end = "[", ",", "]"
		}
		b.WriteString(open)
		for j, a := range s.ASNs {
			if j > 0 {
				b.WriteString(sep)
			}
			b.WriteString(strconv.FormatUint(uint64(a), 10))
		}
		b.WriteString(end)
	}
	return b.String()
}
