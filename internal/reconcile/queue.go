package reconcile

// queue holds places of routes by level, and gives those of the lowest level first, of one level in the order in which they came.
//
// The kernel's IPv4 table is a trie whose nodes double where routes are dense. In the order of addresses, in which a table is
// decided, it doubles the same nodes again and again, which costs it a route up to twice as much. Level by level, as key4 has
// them, it grows everywhere at once, and routes that are near each other still come together. The tables of links have levels of
// their own behind those of ours: what is new finds its way without them. Behind those comes what follows its cover: of the
// Internet's routes by a few links that is nearly all, and packets go right before any of it is there.
type queue struct {
	levels [3 * (maxLevel + 1)][]uint32
	first  int // no level below has any
	n      int
}

const maxLevel = 33 // of one table: one for each number of zeros, and one behind

func (q *queue) add(level int, place uint32) {
	q.levels[level] = append(q.levels[level], place)
	q.first = min(q.first, level)
	q.n++
}

// next takes one out; there must be one.
func (q *queue) next() uint32 {
	for len(q.levels[q.first]) == 0 {
		q.levels[q.first] = nil // it has been walked through
		q.first++
	}
	l := q.levels[q.first]
	q.levels[q.first] = l[1:]
	q.n--
	return l[0]
}

// addAll takes all that o has, behind what q has.
func (q *queue) addAll(o *queue) {
	for level, list := range o.levels {
		if len(list) == 0 {
			continue
		}
		if len(q.levels[level]) == 0 {
			q.levels[level] = list
		} else {
			q.levels[level] = append(q.levels[level], list...)
		}
		q.first = min(q.first, level)
	}
	q.n += o.n
	*o = queue{}
}
