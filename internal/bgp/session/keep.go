package session

import (
	"os"
	"time"

	"bothways/internal/route"
)

// Keeper keeps the connection of a session that stands, and what another process needs to go on with it, so that both outlive
// this process at any moment. It is called by the session's goroutine and must be quick.
type Keeper interface {
	// Keep takes a connection, which is the keeper's to close, with what is known of the session; in place of another one.
	Keep(*Handover, *os.File)
	// Change replaces what is known of the session.
	Change(*Handover)
	// Writing tells that a write has begun, of which nobody can tell how far it came if this process dies; false: that all
	// that was written is whole messages.
	Writing(bool)
	// Drop forgets: the session has ended.
	Drop()
}

// keepConn has the keeper keep the session that stands now.
func (l *loop) keepConn() {
	if l.cfg.Keeper == nil {
		return
	}
	h, ok := l.record()
	if !ok {
		return
	}
	file, err := dup(l.up.nc)
	if err != nil {
		l.log.Debug("the connection cannot be kept for another process", "error", err)
		return
	}
	// First the mark: what is half written must not be kept without it.
	l.cfg.Keeper.Writing(l.up.writing || len(l.up.out) > 0)
	l.cfg.Keeper.Keep(h, file)
}

// keepChange has the keeper know what the neighbor may have been told from now on: all that it knew, and what is about to be
// written.
func (l *loop) keepChange(before map[route.Family][]route.Announcement) {
	if l.cfg.Keeper == nil {
		return
	}
	h, ok := l.record()
	if !ok {
		return
	}
	for f, list := range before {
		now := l.rib.sent[f]
		for _, a := range list {
			if _, ok := now[a.Prefix]; !ok {
				h.Announced[f] = append(h.Announced[f], a)
			}
		}
	}
	l.cfg.Keeper.Change(h)
}

// Recovered is what another process may go on with of what a process kept that died, at a time when all that it had written
// was whole messages. What that process had read and not done is lost, and so is what it was about to say: the neighbor is told
// everything again, and taken to be patient from now on. Where the neighbor's next byte is not the beginning of a message, the
// session ends with a NOTIFICATION as it does on any connection (RFC 4271, section 6.1).
func (h *Handover) Recovered(now time.Time) *Handover {
	r := *h
	r.Unread, r.Unsent, r.Refresh = nil, nil, nil
	n := *h.Standing.Negotiated
	r.Again, r.EndOfRIB = n.Families, n.Families
	if n.Hold > 0 {
		r.Standing.Hold, r.Standing.Keepalive = now.Add(n.Hold), now
	}
	return &r
}
