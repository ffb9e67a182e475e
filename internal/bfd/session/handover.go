package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// WireVersion is the version of what a Process and its child tell each other: a child may be older than the daemon that
// takes it over.
const WireVersion = 1

// Handover is a child that runs, as one daemon hands it to another: all but the wire to it.
type Handover struct {
	Version int
	Said    map[string]news // the last word of each session
	Rest    []byte          // the beginning of a line that has not come whole
}

// maxLine bounds a line of the child's: more than any report has.
const maxLine = 1 << 20

// wire is our end of the wire to a child, and what was read there of a line.
type wire struct {
	conn   *os.File
	rest   []byte
	still  chan struct{} // told when the reader stands still
	goOn   chan struct{} // closed when it may read on; set before the deadline that has it stop
	handed chan struct{} // closed when it may not
}

// line is the next line, without its end.
func (w *wire) line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(w.rest, '\n'); i >= 0 {
			line := w.rest[:i]
			w.rest = w.rest[i+1:]
			return line, nil
		}
		if len(w.rest) > maxLine {
			return nil, fmt.Errorf("bfd: a line of more than %d bytes", maxLine)
		}
		buf := make([]byte, 16<<10)
		n, err := w.conn.Read(buf)
		w.rest = append(w.rest, buf[:n]...)
		if err != nil && n == 0 {
			return nil, err
		}
	}
}

// halt stands still until it may read on, and reports false where it may not.
func (w *wire) halt() bool {
	w.still <- struct{}{}
	select {
	case <-w.goOn:
		return true
	case <-w.handed:
		return false
	}
}

type freeze struct {
	reply chan frozen
	thaw  chan struct{}
}

type frozen struct {
	h    *Handover
	file *os.File
	err  error
}

// Freeze has the Process neither say nor hear anything until Thaw, or the end of Run: then the child is not ended, because
// it is another daemon's. The sessions go on all the while. The file, to be closed by who asked, is the wire to the child.
// Both are nil where no child runs.
//
// The sink must take what it is told meanwhile.
func (p *Process) Freeze(ctx context.Context) (*Handover, *os.File, error) {
	f := freeze{make(chan frozen, 1), make(chan struct{})}
	p.mu.Lock()
	if p.thaw != nil {
		p.mu.Unlock()
		return nil, nil, errors.New("bfd: is frozen already")
	}
	p.thaw = f.thaw
	p.mu.Unlock()
	select {
	case p.freezes <- f:
	case <-ctx.Done():
		p.Thaw()
		return nil, nil, fmt.Errorf("bfd: does not stop: %w", ctx.Err())
	}
	x := <-f.reply
	if x.err != nil {
		p.Thaw()
	}
	return x.h, x.file, x.err
}

// Thaw has the Process go on.
func (p *Process) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thaw != nil {
		close(p.thaw)
		p.thaw = nil
	}
}

// standStill does what Freeze asks for. It reports false where ctx was done before a thaw.
func (p *Process) standStill(ctx context.Context, f freeze, w *wire, heard <-chan struct{}) bool {
	w.still, w.goOn, w.handed = make(chan struct{}), make(chan struct{}), make(chan struct{})
	if err := w.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		f.reply <- frozen{err: fmt.Errorf("bfd: stop reading: %w", err)}
		return true
	}
	select {
	case <-w.still:
	case <-heard: // the child has ended
		f.reply <- frozen{}
		return true
	}
	p.mu.Lock()
	h := &Handover{Version: WireVersion, Said: maps.Clone(p.said), Rest: slices.Clone(w.rest)}
	p.mu.Unlock()
	file, err := dup(w.conn)
	if err != nil {
		h = nil
	}
	f.reply <- frozen{h, file, err}
	select {
	case <-f.thaw:
		w.conn.SetReadDeadline(time.Time{})
		close(w.goOn)
		return true
	case <-ctx.Done():
		close(w.handed)
		return false
	}
}

func dup(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("bfd: hand over the wire: %w", err)
	}
	return os.NewFile(uintptr(fd), "bfd"), nil
}

// Take has Run go on with a child that another daemon froze. It must come before Run. The child is told nothing before the
// first Set, and the sink gets the last word of each session first.
func (p *Process) Take(h *Handover, file *os.File) error {
	switch {
	case h.Version != WireVersion:
		return fmt.Errorf("bfd: the process speaks version %d, want %d", h.Version, WireVersion)
	case len(h.Rest) > maxLine:
		return fmt.Errorf("bfd: %d bytes of a line, want at most %d", len(h.Rest), maxLine)
	}
	for name, n := range h.Said {
		if (n.Up == nil) == (n.Down == nil) {
			return fmt.Errorf("bfd: session %s is neither up nor down", name)
		}
	}
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("bfd: take over the wire: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = maps.Clone(h.Said)
	if p.said == nil {
		p.said = map[string]news{}
	}
	p.taken = &wire{conn: file, rest: slices.Clone(h.Rest)}
	return nil
}

// repeat tells the sink what the child said to another daemon.
func (p *Process) repeat() {
	p.mu.Lock()
	said := maps.Clone(p.said)
	p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if n := said[name]; n.Up != nil {
			p.sink(*n.Up)
		} else {
			p.sink(*n.Down)
		}
	}
}
