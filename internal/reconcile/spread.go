package reconcile

// spreadFrom is from how many routes on their order is changed.
const spreadFrom = 1 << 8

// spread orders what was queued since there were so many, each run of one table by itself.
func (b *book[K]) spread(queued int) {
	list := b.queue[queued:]
	for len(list) > 0 {
		n := 1
		for n < len(list) && b.at(list[n]).key.space() == b.at(list[0]).key.space() {
			n++
		}
		spread(list[:n])
		list = list[n:]
	}
}

// spread orders routes that are sorted by prefix from the coarse to the fine: first few from everywhere, then ever more
// between them. The kernel's IPv4 table is a trie that grows nodes where routes are dense. In sorted order it doubles the
// same nodes again and again, which costs it a third of its time for a whole table; in this one their sizes are right soon.
func spread[K any](list []K) {
	n := len(list)
	if n < spreadFrom {
		return
	}
	out, step, coarser := make([]K, 0, n), 1, 0
	for step*spreadFactor < n {
		step *= spreadFactor
	}
	for ; step > 0; step, coarser = step/spreadFactor, step {
		for i := 0; i < n; i += step {
			if coarser == 0 || i%coarser != 0 {
				out = append(out, list[i])
			}
		}
	}
	copy(list, out)
}

// spreadFactor is by how much each round is finer than the one before.
const spreadFactor = 8
