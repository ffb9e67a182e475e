package flowsweep

import (
	"context"
	"log/slog"
	"net/netip"

	"bothways/internal/flow"
	"bothways/internal/route"
)

// Conntrack is the kernel's table of connections.
type Conntrack interface {
	Flush(ctx context.Context, f route.Family, value, mask uint32) error
	Flows(ctx context.Context, f route.Family, value, mask uint32) ([]flow.Flow, error)
	Delete(ctx context.Context, flows []flow.Flow) (int, error)
	Fill() (count, limit int, err error)
}

// Sink takes what was found and done.
type Sink interface {
	// Used tells how full the addresses of a link are.
	Used(flow.Mark, []flow.Usage)
	// Sampled gives some connections of a mark.
	Sampled([]flow.Flow)
	// Listed gives the connections of a mark that were asked for, in parts: more says that this is not the last.
	Listed(m flow.Mark, flows []flow.Flow, more bool)
	// Deleted tells how many connections of a link were deleted, and about how many by a flush.
	Deleted(l route.Link, f route.Family, n int)
}

// Sweeper is the loop.
type Sweeper struct {
	conntrack Conntrack
	sink      Sink
	log       *slog.Logger
	queue     chan func(context.Context)
}

// maxQueue bounds the requests that wait. The engine asks once per link and family after a change.
const maxQueue = 1024

// maxPart bounds what the engine is given at once, so that it does other things between.
const maxPart = 2000

// New returns a sweeper that does nothing before Run.
func New(c Conntrack, s Sink, log *slog.Logger) *Sweeper {
	return &Sweeper{c, s, log, make(chan func(context.Context), maxQueue)}
}

// Run works until the context ends.
func (s *Sweeper) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case do := <-s.queue:
			do(ctx)
		}
	}
}

func (s *Sweeper) put(do func(context.Context)) {
	select {
	case s.queue <- do:
	default:
		s.log.Warn("too many requests for connections wait, one is left out")
	}
}

// Flush deletes all connections of a link.
func (s *Sweeper) Flush(m flow.Mark) {
	s.put(func(ctx context.Context) {
		before, _, _ := s.conntrack.Fill()
		if err := s.conntrack.Flush(ctx, m.Family, m.Value, m.Mask); err != nil {
			s.log.Warn("cannot delete connections", "error", err)
			return
		}
		after, _, _ := s.conntrack.Fill()
		s.sink.Deleted(m.Link, m.Family, max(before-after, 0))
	})
}

// List asks for the connections of a link.
func (s *Sweeper) List(m flow.Mark) {
	s.put(func(ctx context.Context) {
		flows, err := s.conntrack.Flows(ctx, m.Family, m.Value, m.Mask)
		if err != nil {
			s.log.Warn("cannot list connections", "error", err)
			return
		}
		for len(flows) > maxPart {
			s.sink.Listed(m, flows[:maxPart], true)
			flows = flows[maxPart:]
		}
		s.sink.Listed(m, flows, false)
	})
}

// sampleLimit is how many connections there may be at all for some of them to be looked for: the kernel gives all or none.
const sampleLimit = 50_000

// Sample asks for at most n connections of a link that were answered, to different destinations.
func (s *Sweeper) Sample(m flow.Mark, n int) {
	s.put(func(ctx context.Context) {
		if count, _, err := s.conntrack.Fill(); err != nil || count > sampleLimit {
			return
		}
		flows, err := s.conntrack.Flows(ctx, m.Family, m.Value, m.Mask)
		if err != nil {
			s.log.Warn("cannot list connections", "error", err)
			return
		}
		seen := map[netip.AddrPort]bool{}
		var out []flow.Flow
		for _, f := range flows {
			if f.Answered && !seen[f.Destination] && len(out) < n {
				seen[f.Destination] = true
				out = append(out, f)
			}
		}
		if len(out) > 0 {
			s.sink.Sampled(out)
		}
	})
}

// Use asks how full the addresses are that a link's connections are translated to: the n fullest.
func (s *Sweeper) Use(m flow.Mark, n int) {
	s.put(func(ctx context.Context) {
		flows, err := s.conntrack.Flows(ctx, m.Family, m.Value, m.Mask)
		if err != nil {
			s.log.Warn("cannot list connections", "error", err)
			return
		}
		use := flow.Use(flows)
		s.sink.Used(m, use[:min(len(use), n)])
	})
}

// Delete deletes connections of a link.
func (s *Sweeper) Delete(m flow.Mark, flows []flow.Flow) {
	s.put(func(ctx context.Context) {
		n, err := s.conntrack.Delete(ctx, flows)
		if err != nil {
			s.log.Warn("cannot delete connections", "error", err)
		}
		s.sink.Deleted(m.Link, m.Family, n)
	})
}
