package session

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"bothways/internal/bfd/fsm"
)

// TestRecover goes on with the child of a daemon that died, which had read a part of a line: what the sessions said last follows
// from the first report, and from then on from what the child says.
func TestRecover(t *testing.T) {
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	said := make(chan string, 10)
	p := NewProcess(nil, func(e Event) {
		switch e := e.(type) {
		case Up:
			said <- e.Name + " up"
		case Down:
			said <- fmt.Sprintf("%s down %v %s", e.Name, e.Admin, e.Reason)
		}
	}, "/bin/false")
	kept := 0
	p.KeepWith(func(wire *os.File) {
		if wire != nil {
			kept++
		}
	})
	if err := p.Recover(ours); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if _, err := fmt.Fprintln(theirs, `"Reason":"x"}}`); err != nil {
		t.Fatal(err)
	}
	out := json.NewEncoder(theirs)
	status := func(name string, v fsm.Verdict) Status {
		return Status{Config: Config{Name: name}, Verdict: v, Reason: "silent"}
	}
	all := report{Status: []Status{status("a", fsm.Up), status("b", fsm.Failed), status("c", fsm.Unknown), status("d", fsm.Administrative)}}
	for range 2 { // the second tells nothing new
		if err := out.Encode(news{Report: &all}); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Encode(news{Down: &Down{Name: "a", Reason: "silent too"}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a up", "b down false silent", "d down true silent", "a down false silent too"} {
		select {
		case got := <-said:
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no %q", want)
		}
	}
	if kept != 1 {
		t.Errorf("the wire is kept %d times", kept)
	}
}
