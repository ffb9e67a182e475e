package session

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"bothways/internal/route"
)

// kept is a Keeper that outlives its process.
type kept struct {
	mu      sync.Mutex // guards the rest: the test reads what a session's goroutine writes
	text    []byte
	file    *os.File
	writing bool
	drops   int
}

func (k *kept) Keep(h *Handover, f *os.File) {
	k.Change(h)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file != nil {
		k.file.Close()
	}
	k.file = f
}

func (k *kept) Change(h *Handover) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.text, _ = json.Marshal(h)
}

func (k *kept) Writing(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writing = on
}

func (k *kept) Drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drops++
}

// take gives what another process finds, and the connection.
func (k *kept) take(t *testing.T) (*Handover, net.Conn) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		t.Fatal("no connection is kept")
	}
	h := &Handover{}
	if err := json.Unmarshal(k.text, h); err != nil {
		t.Fatal(err)
	}
	nc, err := net.FileConn(k.file)
	if err != nil {
		t.Fatal(err)
	}
	return h, nc
}

func (k *kept) is(on bool) func() bool {
	return func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.writing == on
	}
}

// crash ends ours as when its process dies, and has another go on. between is done when nobody runs.
func (p *pairOnLoopback) crash(k *kept, between func(net.Conn)) {
	p.t.Helper()
	p.is("whole messages", k.is(false))
	p.end()
	h, nc := k.take(p.t)
	if between != nil {
		between(nc)
	}
	next, err := Take(p.cfg, h.Recovered(time.Now()), nc, p.rec, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.ours = next
	p.start()
}

func newKeptPair(t *testing.T) (*pairOnLoopback, *kept) {
	p, k := newPairOnLoopback(t), &kept{}
	p.cfg.Keeper = k
	// From now on: the session goes on in what stands for another process, which keeps.
	p.handOver()
	p.is("kept", func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.file != nil })
	return p, k
}

// TestCrash has a session outlive its process, three times: the neighbor hears what changed meanwhile, and nothing of the end.
func TestCrash(t *testing.T) {
	p, k := newKeptPair(t)
	p.ours.SetAnnouncements(announcements("198.51.100.64/28", "203.0.113.0/24"))
	p.is("heard", func() bool { return len(known(p.neighbors)) == 2 })
	for i, list := range [][]string{{"198.51.100.64/28", "203.0.113.0/24"}, {"203.0.113.0/24"}, {"198.51.100.80/28"}} {
		p.crash(k, nil)
		p.ours.SetAnnouncements(announcements(list...))
		p.is("heard again", func() bool {
			now := known(p.neighbors)
			for _, x := range list {
				if !now[x] {
					return false
				}
			}
			return len(now) == len(list)
		})
		if err := p.ours.RequestRefresh(route.IPv4); err != nil {
			t.Error(err)
		}
		p.stood()
		if t.Failed() {
			t.Fatalf("crash %d", i)
		}
	}
	if k.drops != 0 {
		t.Errorf("dropped %d times", k.drops)
	}
	p.ours.Shutdown("over")
	if k.drops == 0 {
		t.Error("what has ended is kept")
	}
}

// TestCrashInAMessage has the process that died have read a part of a message: what comes next is no beginning of one, the
// session ends with a NOTIFICATION, and the next one comes up.
func TestCrashInAMessage(t *testing.T) {
	p, k := newKeptPair(t)
	p.crash(k, func(nc net.Conn) {
		p.neighbor.SetAnnouncements(announcements("4.0.0.0/8"))
		nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		var part [7]byte
		if _, err := nc.Read(part[:]); err != nil {
			t.Fatal(err)
		}
	})
	p.is("down at the neighbor", func() bool { return strings.Contains(p.neighbor.Status().LastError, "connection not synchronized") })
}

// TestCrashInAWrite has a neighbor that does not read: what a process is writing to it when it dies is marked.
func TestCrashInAWrite(t *testing.T) {
	p, k := newKeptPair(t)
	p.is("whole messages", k.is(false))
	unblock := p.neighbors.block()
	defer unblock()
	// More than the buffers of both ends and of the neighbor hold.
	p.ours.SetAnnouncements(many(60_000))
	p.is("in a write", k.is(true))
	h, nc := k.take(t)
	nc.Close()
	if len(h.Announced[route.IPv4]) != 60_000 {
		t.Errorf("%d announced prefixes are known of, want all that the neighbor may have heard", len(h.Announced[route.IPv4]))
	}
}
