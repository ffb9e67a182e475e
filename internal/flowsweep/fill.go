package flowsweep

import (
	"context"
	"log/slog"
	"time"
)

// WatchFill reads again and again how many connections there are, of how many at most.
func WatchFill(ctx context.Context, read func() (count, limit int, err error), log *slog.Logger, tell func(count, limit int)) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		count, limit, err := read()
		if err != nil {
			log.Debug("cannot read the number of connections", "error", err)
		} else {
			tell(count, limit)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
