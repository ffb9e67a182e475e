package engine

import (
	"fmt"
	"strings"
	"time"

	"bothways/internal/route"
	"bothways/internal/track"
)

// unanswered counts, for one outage, the probes and proofs that were sent by its link after the last one with an answer, until
// one was answered by another way. It says nothing of other packets: those may be more, and go elsewhere.
type unanswered struct {
	families [2]bool
	streams  [2]track.Stream
	by       string    // the link by which an answer came first; "": none yet
	until    time.Time // when
	told     bool
}

// begin takes over what is known of the link's questions.
func (x *unanswered) begin(families [2]bool, streams [2]track.Stream) {
	for i := range families {
		x.families[i] = families[i] && streams[i].Asks()
	}
	x.streams = streams
}

// asked is one question with what came of it.
type asked struct {
	link     string
	family   route.Family
	kind     track.Question
	sent     time.Time
	answered bool
	rtt      time.Duration
}

// take takes what came of a question; ended says that it is the answer that ends the count.
func (o *outage) take(a asked) (ended bool) {
	x := &o.lost
	i := at(a.family)
	if !x.families[i] || x.told {
		return false
	}
	own := a.link == o.link
	switch {
	case own && !a.answered:
		x.streams[i] = x.streams[i].Silence(a.sent, a.kind)
		return false
	case own && !a.sent.After(o.seen):
		// On its way when the link was found dead.
		x.streams[i] = x.streams[i].Answer(a.sent)
		return false
	case !a.answered, x.by != "":
		return false
	case o.written.IsZero() || a.sent.Before(o.written):
		return false // packets did not go the new way yet, nor come back the old one
	}
	x.by, x.until = a.link, a.sent.Add(a.rtt)
	return true
}

// count is what was lost.
func (x *unanswered) count() (n track.Lost) {
	for i, s := range x.streams {
		if x.families[i] {
			f := s.Lost(x.until)
			n.Probes += f.Probes
			n.Proofs += f.Proofs
		}
	}
	return n
}

// lostEntry tells of it.
func (o *outage) lostEntry() JournalEntry {
	n, d := o.lost.count(), o.lost.until.Sub(o.seen)
	text := fmt.Sprintf("%s sent by %s and not answered, between its last answer and the first by %s, which came after %s", lostText(n), o.link, o.lost.by, milliseconds(d))
	return JournalEntry{At: o.lost.until, Kind: "lost", Subject: o.what, Text: text, Cause: o.cause, Phases: []Phase{{PhaseAnswered, d}}, Lost: &n}
}

func lostText(n track.Lost) string {
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{n.Probes, "probe"}, {n.Proofs, "proof"}} {
		switch {
		case x.n == 1:
			parts = append(parts, "1 "+x.what)
		case x.n > 1 || x.what == "probe" && n.Proofs == 0:
			parts = append(parts, fmt.Sprintf("%d %ss", x.n, x.what))
		}
	}
	return strings.Join(parts, " and ")
}

// noteAsked takes what came of a probe or a proof.
func (e *Engine) noteAsked(l *link, a asked) {
	s := &l.streams[at(a.family)]
	if a.answered {
		*s = s.Answer(a.sent)
	} else {
		*s = s.Silence(a.sent, a.kind)
	}
	for i := range e.outages {
		if e.outages[i].take(a) {
			// Until then all that was sent before has been given up.
			e.at(dueKey{what: "lost"}, e.patience())
		}
	}
}

// patience is the longest that any question waits for its answer, and what its result takes to get here.
func (e *Engine) patience() time.Duration {
	longest := 50 * time.Millisecond
	for _, l := range e.links {
		if t := l.path.Track; t != nil {
			longest = max(longest, t.Timeout)
		}
		if p := l.path.Prove; p != nil {
			longest = max(longest, p.Timeout)
		}
	}
	return longest + 50*time.Millisecond
}

// tellLost tells of outages whose count is complete.
func (e *Engine) tellLost() {
	for i := range e.outages {
		o := &e.outages[i]
		if o.lost.by == "" || o.lost.told {
			continue
		}
		if left := o.lost.until.Add(e.patience()).Sub(e.now); left > 0 {
			e.at(dueKey{what: "lost"}, left)
			continue
		}
		o.lost.told = true
		n := o.lostEntry()
		e.tally.took(o, n.Phases...)
		e.tally.losing(o, *n.Lost)
		e.noteEntry(n)
	}
}
