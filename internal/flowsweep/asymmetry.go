package flowsweep

import (
	"context"
	"log/slog"
	"time"

	"bothways/internal/kstate"
)

// watchEvery is how often the counters are read.
const watchEvery = 2 * time.Second

// Watch reads the table's counters again and again, and tells which have grown by how much since the last time. A counter
// that shrank was made anew, and counts from zero.
func Watch(ctx context.Context, read func(context.Context) (map[string]kstate.Counter, error), log *slog.Logger, grown func(name string, packets uint64)) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := map[string]uint64{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := read(ctx)
		if err != nil {
			log.Debug("cannot read counters", "error", err)
			continue
		}
		for name, c := range now {
			before := last[name]
			if c.Packets < before {
				before = 0
			}
			if c.Packets > before {
				grown(name, c.Packets-before)
			}
			last[name] = c.Packets
		}
	}
}
