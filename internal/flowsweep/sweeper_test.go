package flowsweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/route"
)

// fake is a table of connections and a sink, which writes down what happens.
type fake struct {
	mu    sync.Mutex // the loop and the test meet here
	said  []string
	count int
	fail  error
	flows []flow.Flow
}

func (f *fake) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

func (f *fake) Flush(_ context.Context, _ route.Family, value, mask uint32) error {
	f.say("flush %#x/%#x", value, mask)
	f.count -= 7
	return f.fail
}

func (f *fake) Flows(_ context.Context, _ route.Family, value, _ uint32) ([]flow.Flow, error) {
	f.say("list %#x", value)
	return f.flows, f.fail
}

func (f *fake) Delete(_ context.Context, flows []flow.Flow) (int, error) {
	f.say("delete %d", len(flows))
	return len(flows), f.fail
}

func (f *fake) Fill() (int, int, error)          { return f.count, 1000, nil }
func (f *fake) Used(_ flow.Mark, u []flow.Usage) { f.say("used %d", len(u)) }
func (f *fake) Sampled(fl []flow.Flow)           { f.say("sampled %d", len(fl)) }
func (f *fake) Listed(_ flow.Mark, fl []flow.Flow, more bool) {
	f.say("listed %d%s", len(fl), map[bool]string{true: " and more"}[more])
}
func (f *fake) Deleted(l route.Link, _ route.Family, n int) { f.say("deleted %d of %d", n, l) }

func (f *fake) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.said, want) {
		t.Errorf("%q, want %q", f.said, want)
	}
	f.said = nil
}

func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{count: 100, flows: make([]flow.Flow, 3)}
		s := New(f, f, slog.New(slog.DiscardHandler))
		ctx, end := context.WithCancel(t.Context())
		defer end()
		go s.Run(ctx)
		m := flow.Mark{Family: route.IPv4, Link: 2, Value: 0x200, Mask: 0xff00}
		s.Flush(m)
		f.want(t, "flush 0x200/0xff00", "deleted 7 of 2")
		s.List(m)
		f.want(t, "list 0x200", "listed 3")
		f.flows[0].Answered, f.flows[1].Answered = true, true
		s.Sample(m, 10)
		f.want(t, "list 0x200", "sampled 1") // the two that were answered are to one destination
		f.flows[0].Translated = netip.MustParseAddr("198.51.100.64")
		f.flows[0].Source = netip.MustParseAddrPort("10.20.1.1:1000")
		s.Use(m, 10)
		f.want(t, "list 0x200", "used 1")
		f.count = sampleLimit + 1
		s.Sample(m, 10)
		f.want(t)
		f.count = 93
		s.Delete(m, f.flows[:2])
		f.want(t, "delete 2", "deleted 2 of 2")
		f.fail = errors.New("no memory")
		s.Flush(m)
		s.List(m)
		f.want(t, "flush 0x200/0xff00", "list 0x200")
		f.fail, f.flows = nil, nil
		s.List(m)
		f.want(t, "list 0x200", "listed 0")
		f.flows = make([]flow.Flow, 2*maxPart+1)
		s.List(m)
		f.want(t, "list 0x200", "listed 2000 and more", "listed 2000 and more", "listed 1")
	})
}

func TestWatchFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told [][2]int
		ctx, end := context.WithCancel(t.Context())
		defer end()
		n := 0
		read := func() (int, int, error) {
			n++
			if n == 2 {
				return 0, 0, errors.New("not there")
			}
			return n, 100, nil
		}
		go WatchFill(ctx, read, slog.New(slog.DiscardHandler), func(count, limit int) { told = append(told, [2]int{count, limit}) })
		time.Sleep(2*watchEvery + time.Millisecond)
		synctest.Wait()
		if !slices.Equal(told, [][2]int{{1, 100}, {3, 100}}) {
			t.Errorf("told %v", told)
		}
	})
}

func TestWatchTellsGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		packets := uint64(5)
		read := func(context.Context) (map[string]kstate.Counter, error) {
			mu.Lock()
			defer mu.Unlock()
			return map[string]kstate.Counter{"a": {Packets: packets}}, nil
		}
		var told []uint64
		ctx, end := context.WithCancel(t.Context())
		go Watch(ctx, read, slog.New(slog.DiscardHandler), func(_ string, n uint64) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, n)
		})
		for _, n := range []uint64{5, 8, 8, 2} {
			mu.Lock()
			packets = n
			mu.Unlock()
			time.Sleep(watchEvery)
			synctest.Wait()
		}
		end()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(told, []uint64{5, 3, 2}) {
			t.Errorf("told %v: what there was at the start, the growth, and what a new counter has", told)
		}
	})
}
