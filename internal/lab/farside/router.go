package farside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
)

// Router is a router's process, as its parent sees it.
type Router struct {
	config RouterConfig
	cmd    *exec.Cmd
	conn   net.Conn
	enc    *json.Encoder
	ended  <-chan error
	report func(RouteEvent)

	closing sync.Once
	mu      sync.Mutex // guards what follows: answers reach who asked
	next    int
	waiting map[int]chan message
	broken  error
}

// Starter starts a command where the router is to live.
type Starter func(*exec.Cmd) (ended <-chan error, err error)

// StartRouter runs this program once more, as a router. The program has to call RunRouter where RouterEnv is set.
// report is called for each change of what the edge announces, in order.
func StartRouter(c RouterConfig, start Starter, report func(RouteEvent)) (*Router, error) {
	conn, child, err := pair()
	if err != nil {
		return nil, err
	}
	defer child.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = "bothways-lab router " + c.Name
	cmd.Env = append(os.Environ(), RouterEnv+"=3")
	cmd.ExtraFiles = []*os.File{child}
	cmd.Stderr = os.Stderr
	r := &Router{config: c, cmd: cmd, conn: conn, enc: json.NewEncoder(conn), report: report, waiting: map[int]chan message{}}
	if r.ended, err = start(cmd); err != nil {
		conn.Close()
		return nil, fmt.Errorf("router %s: %w", c.Name, err)
	}
	started := make(chan message, 1)
	r.waiting[-1] = started
	go r.read()
	if err := r.enc.Encode(c); err != nil {
		r.Close()
		return nil, fmt.Errorf("router %s: %w", c.Name, err)
	}
	if m := <-started; m.Error != "" {
		r.Close()
		return nil, errors.New(m.Error)
	}
	return r, nil
}

// Close ends the process. It may be called again.
func (r *Router) Close() {
	r.closing.Do(func() {
		r.conn.Close()
		if r.cmd.Process != nil {
			_ = r.cmd.Process.Kill() // it is gone already, or goes now
		}
		<-r.ended
	})
}

func (r *Router) read() {
	d := json.NewDecoder(r.conn)
	for {
		var m message
		if err := d.Decode(&m); err != nil {
			r.mu.Lock()
			r.broken = fmt.Errorf("router %s: its process ended", r.config.Name)
			for id, c := range r.waiting {
				delete(r.waiting, id)
				c <- message{Error: r.broken.Error()}
			}
			r.mu.Unlock()
			return
		}
		if m.Route != nil {
			r.report(*m.Route)
			continue
		}
		r.mu.Lock()
		c := r.waiting[m.ID]
		delete(r.waiting, m.ID)
		r.mu.Unlock()
		if c != nil {
			c <- m
		}
	}
}

func (r *Router) ask(ctx context.Context, q request) (message, error) {
	answer := make(chan message, 1)
	r.mu.Lock()
	if r.broken != nil {
		r.mu.Unlock()
		return message{}, r.broken
	}
	r.next++
	q.ID = r.next
	r.waiting[q.ID] = answer
	err := r.enc.Encode(q)
	r.mu.Unlock()
	if err != nil {
		return message{}, fmt.Errorf("router %s: %w", r.config.Name, err)
	}
	select {
	case m := <-answer:
		if m.Error != "" {
			return m, errors.New(m.Error)
		}
		return m, nil
	case <-ctx.Done():
		return message{}, ctx.Err()
	}
}

// Do asks for something to be done; prefixes are for Announce and Withdraw.
func (r *Router) Do(ctx context.Context, v Verb, prefixes ...netip.Prefix) error {
	_, err := r.ask(ctx, request{Verb: v, Prefixes: prefixes})
	return err
}

// Leave announces everything again, with the community for a graceful shutdown or without.
func (r *Router) Leave(ctx context.Context, leaving bool) error {
	q := request{Verb: Leave}
	if leaving {
		q.Count = 1
	}
	_, err := r.ask(ctx, q)
	return err
}

// Prepend announces everything again, with the router's AS in front so many times more than once.
func (r *Router) Prepend(ctx context.Context, count int) error {
	_, err := r.ask(ctx, request{Verb: Prepend, Count: count})
	return err
}

// Sessions lists the router's sessions with the edge.
func (r *Router) Sessions(ctx context.Context) ([]Session, error) {
	m, err := r.ask(ctx, request{Verb: Sessions})
	return m.Sessions, err
}
