package linkwatch

import (
	"context"
	"net/netip"
	"time"
)

// pinEvery is how often the kernel is asked where it sends pinned addresses: the routes that matter are others', who change
// them without a word.
const pinEvery = time.Second

// Pin says which single addresses are pinned to links.
func (w *Watcher) Pin(addresses []netip.Addr) {
	w.mu.Lock()
	w.pinned = addresses
	w.mu.Unlock()
}

// pins tells of each pinned address where it would leave, first and at each change.
func (w *Watcher) pins(ctx context.Context) {
	tick := time.NewTicker(pinEvery)
	defer tick.Stop()
	last := map[netip.Addr]int{}
	for {
		w.mu.Lock()
		pinned := w.pinned
		w.mu.Unlock()
		now := map[netip.Addr]int{}
		for _, a := range pinned {
			index, err := w.kernel.Lookup(a)
			if err != nil {
				w.log.Debug("cannot look up a pin", "error", err)
				continue
			}
			now[a] = index
			if before, known := last[a]; !known || before != index {
				w.sink.Pinned(a, index)
			}
		}
		last = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
