package session

import (
	"fmt"
	"os"
	"time"

	"bothways/internal/bfd/fsm"
)

// KeepWith has somebody keep the wire to the child beyond the end of this process, so that a daemon that dies does not take the
// sessions along: keep is called with the wire of each child that runs, and with nil when that ends. The file stays the
// Process's. It must come before Run.
func (p *Process) KeepWith(keep func(wire *os.File)) { p.keep = keep }

// Recover is Take for the wire of a daemon that died. What the child said to it is not known: the first report tells.
func (p *Process) Recover(file *os.File) error {
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("bfd: recover the wire: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken, p.unsure = &wire{conn: file}, true
	return nil
}

// recovered makes of the first report what the child would have said last of each session.
func (p *Process) recovered(r *report) {
	if !p.unsure {
		return
	}
	p.unsure = false
	for _, st := range r.Status {
		p.mu.Lock()
		_, said := p.said[st.Name]
		p.mu.Unlock()
		if n, ok := lastWord(st); ok && !said {
			if n.Up != nil {
				p.judged(*n.Up, st.Name, n)
			} else {
				p.judged(*n.Down, st.Name, n)
			}
		}
	}
}

// lastWord is what a session in this state has said last; ok is false for one that has said nothing.
func lastWord(st Status) (n news, ok bool) {
	switch st.Verdict {
	case fsm.Up:
		n.Up = &Up{Name: st.Name, At: st.Since, Detection: st.DetectionTime}
	case fsm.Failed, fsm.Administrative:
		n.Down = &Down{Name: st.Name, Reason: st.Reason, Admin: st.Verdict == fsm.Administrative, At: st.Since, Heard: st.Heard, Due: st.Since}
	default:
		return n, false
	}
	return n, true
}
