package session

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestListenerGoesAlong hands a listening socket from one listener to another: connections are taken throughout.
func TestListenerGoesAlong(t *testing.T) {
	probe, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := probe.Addr().String()
	port := addrPort(probe.Addr()).Port()
	probe.Close()
	c := config()
	c.Local, c.Neighbor, c.Passive = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1"), true
	run := func(l *Listener) (end func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx) }()
		return func() { cancel(); <-done }
	}
	first := NewListener(port, nil)
	first.Add(New(c, &recorder{}, nil))
	end := run(first)
	connect := func() error {
		nc, err := net.DialTimeout("tcp4", at, time.Second)
		if err == nil {
			nc.Close()
		}
		return err
	}
	eventually(t, "listens", 10*time.Second, func() (bool, string) { err := connect(); return err == nil, at })
	for range 3 {
		all, err := first.Sockets()
		if err != nil || len(all) != 1 || all[0].Local != c.Local {
			t.Fatalf("%+v, %v", all, err)
		}
		next := NewListener(port, nil)
		wrong := all[0]
		wrong.Local = addrA
		if err := next.Take(wrong); err == nil {
			t.Error("a socket of another address was taken")
		}
		if err := next.Take(all[0]); err != nil {
			t.Fatal(err)
		}
		all[0].File.Close()
		s := New(c, &recorder{}, nil)
		next.Add(s)
		runs(t, s)
		end()
		if err := connect(); err != nil {
			t.Errorf("between two processes: %v", err)
		}
		end, first = run(next), next
		eventually(t, "the session hears of it", 10*time.Second, func() (bool, string) {
			return s.Status().LastError != "" || s.Status().Phase > 2, "nothing"
		})
	}
	end()
	if err := connect(); err == nil {
		t.Error("it still listens")
	}
}
