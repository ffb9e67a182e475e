package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// crowdWorkers is how many connections of a crowd are opened or asked at the same time.
const crowdWorkers = 32

// Crowd are many TCP connections of one inside host, which are kept and asked again.
type Crowd struct {
	w     *World
	from  string
	to    []netip.Addr // of each connection
	conns []*Conn
	first []Answer
}

// Crowd opens n connections from a host to the addresses in turn, and asks once over each. Close it.
func (w *World) Crowd(ctx context.Context, from string, to []netip.Addr, n int) (*Crowd, error) {
	if len(to) == 0 {
		return nil, errors.New("a crowd needs somewhere to go")
	}
	c := &Crowd{w: w, from: from, to: make([]netip.Addr, n), conns: make([]*Conn, n), first: make([]Answer, n)}
	for i := range c.to {
		c.to[i] = to[i%len(to)]
	}
	err := errors.Join(c.each(func(i int) (err error) { return c.open(ctx, i) })...)
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Crowd) open(ctx context.Context, i int) (err error) {
	one, cancel := context.WithTimeout(ctx, 2*AskTimeout)
	defer cancel()
	if c.conns[i], err = c.w.Connect(one, c.from, c.to[i]); err != nil {
		return fmt.Errorf("connection %d: %w", i, err)
	}
	c.first[i], err = c.conns[i].Ask(2 * AskTimeout)
	return err
}

// each does something for every connection, several at a time; errors come in the order of the connections.
func (c *Crowd) each(do func(i int) error) []error {
	out := make([]error, len(c.conns))
	next := make(chan int)
	var tasks sync.WaitGroup
	for range min(crowdWorkers, len(c.conns)) {
		tasks.Go(func() {
			for i := range next {
				out[i] = do(i)
			}
		})
	}
	for i := range c.conns {
		next <- i
	}
	close(next)
	tasks.Wait()
	return out
}

// Len is the number of connections.
func (c *Crowd) Len() int { return len(c.conns) }

// First are what the services saw of each connection when it was opened.
func (c *Crowd) First() []Answer { return c.first }

// Ask makes one exchange over each connection, and returns the errors of those that are broken. A service that sees another
// client than at first is one: a connection cannot live through that.
func (c *Crowd) Ask(timeout time.Duration) []error {
	var broken []error
	for i, err := range c.each(func(i int) error {
		a, err := c.conns[i].Ask(timeout)
		if err == nil && a != c.first[i] {
			err = fmt.Errorf("seen as %+v, at first as %+v", a, c.first[i])
		}
		return err
	}) {
		if err != nil {
			broken = append(broken, fmt.Errorf("connection %d to %s: %w", i, c.to[i], err))
		}
	}
	return broken
}

// Reconnect asks over each connection and, where it is broken, opens it anew and asks over that. It returns how many were
// broken, and the errors of those that could not be opened again.
func (c *Crowd) Reconnect(ctx context.Context, timeout time.Duration) (broken int, failed []error) {
	was := make([]bool, len(c.conns))
	for _, err := range c.each(func(i int) error {
		if _, err := c.conns[i].Ask(timeout); err == nil {
			return nil
		}
		was[i] = true
		c.conns[i].Close()
		return c.open(ctx, i)
	}) {
		if err != nil {
			failed = append(failed, err)
		}
	}
	for _, b := range was {
		if b {
			broken++
		}
	}
	return broken, failed
}

// Close closes all.
func (c *Crowd) Close() {
	for _, conn := range c.conns {
		if conn != nil {
			conn.Close()
		}
	}
}
