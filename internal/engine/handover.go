package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"bothways/internal/kstate"
	"bothways/internal/route"
	"bothways/internal/track"
)

// Handover is what an engine that stands still hands to one in another process. What neighbors announced is not in it: they
// are asked for it again.
type Handover struct {
	Numbers map[string]route.Link // by interface
	Links   []LinkHandover
	Learned Learned
	Journal []JournalEntry
	// Failovers is nil of a daemon that did not count them.
	Failovers *Failovers `json:",omitempty"`
}

// LinkHandover is a link of a Handover.
type LinkHandover struct {
	Name, Interface string
	Index           int
	Carrier         bool
	Tracks          track.Link
	Drained, Moved  bool
	Sessions        [2]SessionHandover // by family
}

// SessionHandover is a session of a LinkHandover.
type SessionHandover struct {
	Known    bool // it was up, or routes of it are kept: there is something to wait for
	Received int  // prefixes that the neighbor announced
}

// Freeze has the engine settle what it knows and then stand still until thaw is called, or Run ends. The error says what
// cannot be handed over; then the engine has not stopped.
func (e *Engine) Freeze(ctx context.Context) (h *Handover, thaw func(), err error) {
	f := Freeze{make(chan frozen, 1), make(chan struct{})}
	thaw = sync.OnceFunc(func() { close(f.over) })
	e.Tell(ctx, f)
	select {
	case x := <-f.reply:
		return x.handover, thaw, x.err
	case <-ctx.Done():
		thaw() // where it comes to it later, it goes on at once
		return nil, nil, fmt.Errorf("engine: does not stop: %w", ctx.Err())
	}
}

// frozen answers a Freeze.
type frozen struct {
	handover *Handover
	err      error
}

// standStill answers a Freeze once the turn has settled, and waits for the thaw. It reports false when ctx is done.
func (e *Engine) standStill(ctx context.Context) bool {
	if e.freezing == nil {
		return true
	}
	f := e.freezing
	e.freezing = nil
	h, err := e.handover()
	f.reply <- frozen{h, err}
	if err != nil {
		return true
	}
	select {
	case <-f.over:
		return true
	case <-ctx.Done():
		return false
	}
}

// handover gives what another engine goes on with, or says what it could not.
func (e *Engine) handover() (*Handover, error) {
	if e.withdrawn {
		return nil, fmt.Errorf("everything was withdrawn: this daemon ends")
	}
	h := &Handover{Numbers: e.numbers, Learned: e.learned, Journal: e.journal.entries, Failovers: e.tally.publish()}
	for _, l := range e.links {
		x := LinkHandover{
			Name: l.FullName(), Interface: l.Interface, Index: l.index, Carrier: l.carrier, Tracks: l.tracks,
			Drained: e.tables[0].drained.Has(l.number), Moved: e.tables[0].moved.Has(l.number),
		}
		for _, f := range route.Families() {
			s := l.session[at(f)]
			if s.held != nil || s.sparing {
				return nil, fmt.Errorf("%s: prefixes are held that its neighbor took back, and would be lost", SessionKey{l.FullName(), f})
			}
			n := e.tables[at(f)].table.Counts(l.number)
			received := n.Received + n.Staged
			if s.taken && !s.complete {
				received = max(received, s.expected) // it is still saying everything again
			}
			x.Sessions[at(f)] = SessionHandover{Known: s.up || s.stale, Received: received}
		}
		h.Links = append(h.Links, x)
	}
	return h, nil
}

// Check says what no engine hands over.
func (h *Handover) Check() error {
	if len(h.Journal) > journalSize {
		return fmt.Errorf("engine: %d entries of the journal, want at most %d", len(h.Journal), journalSize)
	}
	if len(h.Links) > kstate.MaxLinks {
		return fmt.Errorf("engine: %d links, want at most %d", len(h.Links), kstate.MaxLinks)
	}
	for name, n := range h.Numbers {
		if n == 0 {
			return fmt.Errorf("engine: interface %s has no number", name)
		}
	}
	for _, l := range h.Links {
		if !strings.Contains(l.Name, "/") || h.Numbers[l.Interface] == 0 {
			return fmt.Errorf("engine: link %q on %q", l.Name, l.Interface)
		}
	}
	if err := h.Failovers.check(); err != nil {
		return err
	}
	return h.Learned.check()
}

// resume begins with what another engine handed over. The links are those of its configuration: configure brings them to
// the new one, as at a reload.
func (e *Engine) resume(h *Handover) {
	if h == nil {
		return
	}
	e.handed = true
	e.tally = newTally(h.Failovers)
	e.learned, e.journal.entries, e.journal.total = h.Learned, h.Journal, len(h.Journal)
	for _, x := range h.Links {
		path, name, _ := strings.Cut(x.Name, "/")
		l := &link{number: h.Numbers[x.Interface], index: x.Index, carrier: x.Carrier, tracks: x.Tracks}
		l.Path, l.Name, l.Interface = path, name, x.Interface
		for i, s := range x.Sessions {
			l.session[i] = sessionState{absent: !s.Known, expected: s.Received}
		}
		e.links = append(e.links, l)
		for _, t := range e.tables {
			if x.Drained {
				t.drained.Add(l.number)
			}
			if x.Moved {
				t.moved.Add(l.number)
			}
		}
	}
}

// resumeMoves looks again at the connections of dead links: the engine before may have been about to.
func (e *Engine) resumeMoves() {
	if !e.handed {
		return
	}
	for _, t := range e.tables {
		for _, l := range e.state(t).Dead.Links() {
			e.moves[moveKey{l, t.f}] = 0
		}
	}
}

// adoptedText is for the journal.
func (e *Engine) adoptedText() string {
	if e.handed {
		return "this daemon took over from the one before; nothing stale goes before the neighbors have said everything again"
	}
	return "adopted what an earlier daemon left; nothing stale goes before the neighbors have said everything"
}

// repeatTime is how long a neighbor that was asked for everything again, and cannot say when that is all, may be silent
// while it has said less than another daemon knew of it.
const repeatTime = 10 * time.Second

// repeated begins and ends what a neighbor says again after a restart (RFC 7313). An end without a beginning is that of
// something the daemon before had asked for.
func (e *Engine) repeated(ev SessionRefresh, s *sessionState) {
	if ev.Start {
		s.repeating = true
		return
	}
	if s.repeating {
		e.endOfRIB(ev.Key)
	}
}
