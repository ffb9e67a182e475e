package session

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// take has another Process go on with the child of one, as another daemon does. It cannot start a child of its own.
func (w *world) take(p *apart) *apart {
	w.t.Helper()
	h, file, err := p.Freeze(w.t.Context())
	if err != nil || h == nil {
		w.t.Fatalf("%+v, %v", h, err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		w.t.Fatal(err)
	}
	var read Handover
	if err := json.Unmarshal(text, &read); err != nil {
		w.t.Fatal(err)
	}
	next := &apart{}
	next.Process = NewProcess(nil, func(e Event) {
		next.mu.Lock()
		defer next.mu.Unlock()
		next.got = append(next.got, e)
	}, "/nonexistent")
	for want, change := range map[string]func(*Handover){
		"speaks version 9": func(h *Handover) { h.Version = 9 },
		"bytes of a line":  func(h *Handover) { h.Rest = make([]byte, maxLine+1) },
		"neither":          func(h *Handover) { h.Said = map[string]news{"x": {}} },
	} {
		bad := read
		change(&bad)
		if err := next.Take(&bad, file); err == nil || !strings.Contains(err.Error(), want) {
			w.t.Errorf("%v, want %q", err, want)
		}
	}
	if err := next.Take(&read, file); err != nil {
		w.t.Fatal(err)
	}
	p.stop()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); next.Run(ctx) }()
	next.stop = func() { cancel(); <-done }
	w.t.Cleanup(next.stop)
	return next
}

func (p *apart) last(t *testing.T, want func(Event) bool) {
	t.Helper()
	eventually(t, "event", func() (bool, string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.got) > 0 && want(p.got[len(p.got)-1]), fmt.Sprintf("%+v", p.got)
	})
}

func isUp(e Event) bool { _, ok := e.(Up); return ok }

// TestProcessGoesOn: a child outlives the daemon that started it where another takes it over, twice, and no session flaps.
func TestProcessGoesOn(t *testing.T) {
	w := newWorld(t)
	p := w.startProcess(w.ours, config4(50*ms))
	b := w.start(w.theirs, turned(config4(50*ms)))
	p.agreed(t, "isp-a/main", 50*ms, 150*ms)
	b.agreed("isp-a/main", 50*ms, 150*ms)
	for range 2 {
		p = w.take(p)
		p.last(t, isUp) // it is told what is so
		time.Sleep(500 * ms)
		// Nothing was Set yet: nothing may have ended.
		if err := p.Set([]Config{config4(50 * ms)}); err != nil {
			t.Fatal(err)
		}
		p.agreed(t, "isp-a/main", 50*ms, 150*ms)
	}
	for _, st := range p.Status() {
		if st.Flaps != 0 {
			t.Errorf("%+v", st)
		}
	}
	for _, e := range b.events() {
		if d, ok := e.(Down); ok {
			t.Errorf("the neighbor saw %+v", d)
		}
	}

	// A freeze that comes to nothing loses no word.
	if _, file, err := p.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	} else {
		file.Close()
	}
	if _, _, err := p.Freeze(t.Context()); err == nil {
		t.Error("frozen twice")
	}
	w.silence()
	b.down("isp-a/main")
	time.Sleep(300 * ms)
	p.mu.Lock()
	heard := len(p.got)
	p.mu.Unlock()
	if heard != 1 {
		t.Errorf("a frozen process heard %d", heard)
	}
	p.Thaw()
	p.last(t, func(e Event) bool { d, ok := e.(Down); return ok && !d.Admin })
	w.heal()
	p.last(t, isUp)

	// It ends as one of its own would.
	p.Set(nil)
	p.stop()
	if pids := w.run("ip", "netns", "pids", w.ours); pids != "" {
		eventually(t, "the child ends", func() (bool, string) {
			pids := w.run("ip", "netns", "pids", w.ours)
			return pids == "", pids
		})
	}
}
