package handover

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRecord is what another process finds, also where this one ended between two writes.
func TestRecord(t *testing.T) {
	r, err := NewRecord("test")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var m message
	if _, err := ReadRecord(r.File(), &m); err == nil {
		t.Error("an empty record has a value")
	}
	for i := range 5 {
		want := message{Name: fmt.Sprint(i), List: make([]int, 100*(5-i))}
		if err := r.Write(want); err != nil {
			t.Fatal(err)
		}
		if err := r.Mark(i%2 == 1); err != nil {
			t.Fatal(err)
		}
		m = message{}
		marked, err := ReadRecord(r.File(), &m)
		if err != nil || m.Name != want.Name || len(m.List) != len(want.List) || marked != (i%2 == 1) {
			t.Errorf("%d: %q, %d numbers, marked %v, %v", i, m.Name, len(m.List), marked, err)
		}
		// The beginning of the next value is there, and the head still that of this one.
		if _, err := r.File().WriteAt([]byte(`{"Name": "half`), r.next); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRecord(r.File(), &m); err != nil || m.Name != want.Name {
			t.Errorf("%d: while the next one is written: %q, %v", i, m.Name, err)
		}
	}
	if _, err := r.File().WriteAt([]byte("x"), placeA); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRecord(r.File(), &m); err == nil {
		t.Error("damage is not seen")
	}
}

// TestStore is what a service manager hears.
func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ln.SetDeadline(time.Now().Add(10 * time.Second))
	a, b, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	s := NewStore(path, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	if err := s.Put("session er/primary: x", a, b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		text  string
		files int
	}{{"FDSTOREREMOVE=1\nFDNAME=session er/primary_ x", 0}, {"FDSTORE=1\nFDNAME=session er/primary_ x", 2}} {
		buf, oob := make([]byte, 4096), make([]byte, 4096)
		n, on, _, _, err := ln.ReadMsgUnix(buf, oob)
		if err != nil {
			t.Fatal(err)
		}
		files := 0
		if m, err := unix.ParseSocketControlMessage(oob[:on]); err == nil && len(m) > 0 {
			fds, err := unix.ParseUnixRights(&m[0])
			if err != nil {
				t.Fatal(err)
			}
			files = len(fds)
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
		if string(buf[:n]) != want.text || files != want.files {
			t.Errorf("%q with %d files, want %+v", buf[:n], files, want)
		}
	}
	// What was left at the end is said.
	cancel()
	<-done
	if err := s.Remove("late"); err != nil {
		t.Fatal(err)
	}
	s.Run(ctx)
	buf := make([]byte, 100)
	if n, _, err := ln.ReadFromUnix(buf); err != nil || string(buf[:n]) != "FDSTOREREMOVE=1\nFDNAME=late" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if err := NewStore("", nil).Put("x", a); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
}

func TestTakeStoredOfAnother(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_FDNAMES", "x")
	if files, err := TakeStored(); err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
	t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	t.Setenv("LISTEN_FDS", "3")
	t.Setenv("LISTEN_FDNAMES", "x:y")
	if _, err := TakeStored(); err == nil {
		t.Error("three files with two names are taken")
	}
	if os.Getenv("LISTEN_FDS") != "" {
		t.Error("children would be told of them")
	}
}

// TestStoreThatDoesNotListen holds up neither who has something kept, nor the end.
func TestStoreThatDoesNotListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := NewStore(path, slog.New(slog.DiscardHandler))
	began := time.Now()
	for i := range 1000 {
		if err := s.Remove(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.Run(ctx); time.Since(began) > storePatience/2 {
		t.Errorf("took %v", time.Since(began))
	}
}
