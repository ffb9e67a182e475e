package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bothways/internal/lab/farside"
)

const (
	dirPrefix   = "bothways-lab-"
	controlName = "lab.sock"
)

// Request is what another process asks of a world.
type Request struct {
	Verb   string `json:"verb"` // fail, heal, status, ask
	Name   string `json:"name,omitempty"`
	Silent bool   `json:"silent,omitempty"`
	To     string `json:"to,omitempty"` // ask: a host or an address
	V6     bool   `json:"v6,omitempty"`
}

// Reply is a world's answer.
type Reply struct {
	Error  string  `json:"error,omitempty"`
	Status *Status `json:"status,omitempty"`
	Answer *Answer `json:"answer,omitempty"`
}

// Status is a world at a glance.
type Status struct {
	World   string         `json:"world"`
	Dir     string         `json:"dir"`
	Edge    bool           `json:"edge"` // a daemon runs in it
	Routers []RouterStatus `json:"routers"`
	// Failures are those of sessions and hosts too, by name; Names all that can fail.
	Failures map[string]Failure `json:"failures"`
	Names    []string           `json:"names"`
}

// RouterStatus is a router at a glance.
type RouterStatus struct {
	Name     string            `json:"name"`
	Link     string            `json:"link"`
	Sessions []farside.Session `json:"sessions"`
	Learned  []string          `json:"learned"` // what the edge announces here
	Refused  uint64            `json:"refused"` // packets with a source that is not the site's here
	Pinned   uint64            `json:"pinned"`  // packets to pinned addresses
}

// Status looks at the world.
func (w *World) Status(ctx context.Context) (*Status, error) {
	w.edgeMu.Lock()
	s := &Status{World: w.Description.Name, Dir: w.Dir, Edge: w.edge != nil, Failures: w.Failures(), Names: w.FailureNames()}
	w.edgeMu.Unlock()
	for _, r := range w.Description.Routers {
		rs := RouterStatus{Name: r.Name, Link: r.Link}
		var err error
		if r.ASN != 0 {
			if rs.Sessions, err = w.Sessions(ctx, r.Name); err != nil {
				return nil, err
			}
		}
		for _, p := range w.Learned(r.Name) {
			rs.Learned = append(rs.Learned, p.String())
		}
		if rs.Refused, err = w.Refused(r.Name); err != nil {
			return nil, err
		}
		if rs.Pinned, err = w.PinnedSeen(r.Name); err != nil {
			return nil, err
		}
		s.Routers = append(s.Routers, rs)
	}
	return s, nil
}

// control answers other processes at a socket of the world.
type control struct {
	w        *World
	listener net.Listener
	tasks    sync.WaitGroup
}

func listenControl(w *World, path string) (*control, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	c := &control{w: w, listener: l}
	c.tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.tasks.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(controlTimeout)) // a unix socket takes one
				var q Request
				if json.NewDecoder(conn).Decode(&q) == nil {
					_ = json.NewEncoder(conn).Encode(c.answer(q)) // who asked is gone, or has it
				}
			})
		}
	})
	return c, nil
}

const controlTimeout = time.Minute

func (c *control) close() {
	c.listener.Close()
	c.tasks.Wait()
}

func (c *control) answer(q Request) (r Reply) {
	ctx, cancel := context.WithTimeout(context.Background(), controlTimeout/2)
	defer cancel()
	var err error
	switch q.Verb {
	case "fail":
		err = c.w.Fail(ctx, q.Name, q.Silent)
	case "heal":
		if q.Name == "" {
			err = c.w.HealAll(ctx)
		} else {
			err = c.w.Heal(ctx, q.Name)
		}
	case "status":
		r.Status, err = c.w.Status(ctx)
	case "ask":
		var a Answer
		if a, err = c.w.askByName(ctx, q); err == nil {
			r.Answer = &a
		}
	default:
		err = fmt.Errorf("unknown verb %q", q.Verb)
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

func (w *World) askByName(ctx context.Context, q Request) (Answer, error) {
	to, err := netip.ParseAddr(q.To)
	if err != nil {
		if to, err = w.Address(q.To, q.V6); err != nil {
			return Answer{}, err
		}
	}
	return w.Ask(ctx, q.Name, to)
}

// Call asks the world whose files are in a directory; where it is empty, the only world that stands.
func Call(dir string, q Request) (Reply, error) {
	var r Reply
	if dir == "" {
		var err error
		if dir, err = only(); err != nil {
			return r, err
		}
	}
	conn, err := net.DialTimeout("unix", filepath.Join(dir, controlName), time.Second)
	if err != nil {
		return r, fmt.Errorf("no world answers in %s: %w", dir, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(controlTimeout)); err != nil {
		return r, err
	}
	if err := json.NewEncoder(conn).Encode(q); err != nil {
		return r, err
	}
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return r, fmt.Errorf("world in %s: %w", dir, err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

func only() (string, error) {
	sockets, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*", controlName))
	if err != nil {
		return "", err
	}
	var dirs []string
	for _, s := range sockets {
		dirs = append(dirs, filepath.Dir(s))
	}
	switch len(dirs) {
	case 0:
		return "", errors.New("no world stands: start one with bothways-lab up or demo")
	case 1:
		return dirs[0], nil
	}
	return "", fmt.Errorf("several worlds stand, say which with --world: %s", strings.Join(dirs, " "))
}
