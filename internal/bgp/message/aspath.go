package message

import (
	"errors"
	"fmt"

	"bothways/internal/route"
)

// parseASPath reads AS_PATH or AS4_PATH with AS numbers of width bytes, with one allocation for the segments and one
// for all numbers.
//
// Confederation segments are errors: every neighbor here is outside of any confederation (RFC 5065, section 5). AS 0
// is one, too (RFC 7607, section 2).
func parseASPath(b []byte, width int) (route.ASPath, error) {
	segments, numbers := 0, 0
	for rest := b; len(rest) > 0; segments++ {
		if len(rest) < 2 {
			return nil, errors.New("segment is cut off")
		}
		kind, n := route.SegmentKind(rest[0]), int(rest[1])
		switch kind {
		case route.Set, route.Sequence:
		case route.ConfedSequence, route.ConfedSet:
			return nil, errors.New("confederation segment from an external neighbor")
		default:
			return nil, fmt.Errorf("segment of type %d", kind)
		}
		if n == 0 {
			return nil, errors.New("empty segment")
		}
		if len(rest) < 2+n*width {
			return nil, errors.New("segment runs over the end")
		}
		rest, numbers = rest[2+n*width:], numbers+n
	}
	if segments == 0 {
		return nil, nil
	}
	path, all := make(route.ASPath, 0, segments), make([]uint32, 0, numbers)
	for len(b) > 0 {
		kind, n := route.SegmentKind(b[0]), int(b[1])
		b = b[2:]
		from := len(all)
		for range n {
			as := uint32(be16(b))
			if width == 4 {
				as = be32(b)
			}
			if as == 0 {
				return nil, errors.New("AS 0")
			}
			all, b = append(all, as), b[width:]
		}
		path = append(path, route.Segment{Kind: kind, ASNs: all[from:len(all):len(all)]})
	}
	return path, nil
}

// outsideSegments leaves the confederation segments of an AS4_PATH out, where there are any. What is malformed stays as it is.
func outsideSegments(b []byte) (out []byte, found bool) {
	for rest := b; len(rest) > 0; {
		if len(rest) < 2 || len(rest) < 2+4*int(rest[1]) {
			return b, false
		}
		n := 2 + 4*int(rest[1])
		switch route.SegmentKind(rest[0]) {
		case route.ConfedSequence, route.ConfedSet:
			found = true
		default:
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	return out, found
}

// joinPaths returns the first lead hops of head, then tail. A set counts as one hop.
func joinPaths(head route.ASPath, lead int, tail route.ASPath) route.ASPath {
	var path route.ASPath
	for _, s := range head {
		if lead == 0 {
			break
		}
		if s.Kind == route.Set {
			path, lead = append(path, s), lead-1
			continue
		}
		n := min(lead, len(s.ASNs))
		path, lead = append(path, route.Segment{Kind: s.Kind, ASNs: s.ASNs[:n:n]}), lead-n
	}
	if len(path) > 0 && len(tail) > 0 {
		last, first := &path[len(path)-1], tail[0]
		// One sequence that was cut in two by the merge is one again.
		if last.Kind == route.Sequence && first.Kind == route.Sequence && len(last.ASNs)+len(first.ASNs) <= 255 {
			joined := append(append(make([]uint32, 0, len(last.ASNs)+len(first.ASNs)), last.ASNs...), first.ASNs...)
			*last = route.Segment{Kind: route.Sequence, ASNs: joined}
			tail = tail[1:]
		}
	}
	return append(path, tail...)
}
