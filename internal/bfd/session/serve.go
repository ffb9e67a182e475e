package session

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// reportEvery is how often a process of its own tells how its sessions are.
const reportEvery = 200 * time.Millisecond

// order is what a Process tells its child, a line of JSON each.
type order struct{ Set []Config }

// news is what the child tells, a line of JSON each: one of these.
type news struct {
	Up     *Up     `json:",omitempty"`
	Down   *Down   `json:",omitempty"`
	Report *report `json:",omitempty"`
}

type report struct {
	Status []Status
	Stats  Stats
}

// Serve is the child of a Process: it runs a Speaker that does what is said on conn, until that ends. Then it ends too,
// without a word to the neighbors, but what was Set before is carried out. Signals that end the parent should be ignored
// by the child, which would miss the last orders else.
func Serve(conn io.ReadWriter, log *slog.Logger) error {
	var mu sync.Mutex // guards writing to conn
	out := json.NewEncoder(conn)
	tell := func(n news) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(n) // that the other end is gone is seen by reading
	}
	s := New(log, func(e Event) {
		switch e := e.(type) {
		case Up:
			tell(news{Up: &e})
		case Down:
			tell(news{Down: &e})
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var reports sync.WaitGroup
	reports.Go(func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				tell(news{Report: &report{s.Status(), s.Stats()}})
			}
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	told := make(chan error, 1)
	go func() { told <- obey(s, conn) }()
	var err error
	select {
	case err = <-told:
		cancel()
		err = errors.Join(err, <-ended)
	case err = <-ended:
		cancel()
	}
	reports.Wait()
	return err
}

// obey carries out orders until there are no more.
func obey(s *Speaker, conn io.Reader) error {
	in := json.NewDecoder(bufio.NewReader(conn))
	for {
		var o order
		switch err := in.Decode(&o); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("bfd: read order: %w", err)
		}
		if err := s.Set(o.Set); err != nil {
			return fmt.Errorf("bfd: order: %w", err)
		}
	}
}
