package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bothways/internal/lab/farside"
)

// Barrage is what became of many short connections.
type Barrage struct {
	Opened   int
	Answered map[string]int // by the router that the request came by
	Retried  int            // datagrams that were sent again: the connection is the same
	Took     time.Duration
}

// All is how many were answered.
func (b Barrage) All() (n int) {
	for _, x := range b.Answered {
		n += x
	}
	return n
}

func (b Barrage) String() string {
	return fmt.Sprintf("%d connections, answered by %v, %d datagrams sent again, in %s", b.Opened, b.Answered, b.Retried, b.Took.Round(time.Millisecond))
}

// barrageWorkers is how many exchanges are on their way at the same time: enough to keep services busy, too few to fill
// a queue on the way.
const barrageWorkers = 12

// Barrage makes n short exchanges from a host, each over a connection from a port of its own, to the addresses in turn;
// network is tcp or udp. The sockets block, on threads in the host's namespace: that is what makes it fast.
func (w *World) Barrage(ctx context.Context, from, network string, to []netip.Addr, n int) (Barrage, error) {
	kind := unix.SOCK_STREAM
	if network == "udp" {
		kind = unix.SOCK_DGRAM
	}
	var next, retried atomic.Int64
	var mu sync.Mutex // guards the result: workers add to it
	out := Barrage{Opened: n, Answered: map[string]int{}}
	var problems []error
	start := time.Now()
	var tasks sync.WaitGroup
	for range barrageWorkers {
		tasks.Go(func() {
			answered := map[string]int{}
			err := w.Exec(from, func() error {
				for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
					a, again, err := exchange(kind, to[i%len(to)])
					retried.Add(int64(again))
					if err != nil {
						return fmt.Errorf("%s %d to %s: %w", network, i, to[i%len(to)], err)
					}
					answered[a.Via]++
				}
				return ctx.Err()
			})
			mu.Lock()
			defer mu.Unlock()
			for via, k := range answered {
				out.Answered[via] += k
			}
			problems = append(problems, err)
		})
	}
	tasks.Wait()
	out.Took, out.Retried = time.Since(start), int(retried.Load())
	return out, errors.Join(problems...)
}

// barrageTries is how often a datagram is sent until it is answered.
const barrageTries = 5

func exchange(kind int, to netip.Addr) (a Answer, retried int, err error) {
	domain, remote := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: farside.LinePort, Addr: as4(to)})
	if to.Is6() {
		domain, remote = unix.AF_INET6, &unix.SockaddrInet6{Port: farside.LinePort, Addr: to.As16()}
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return a, 0, err
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(int64(AskTimeout))
	if kind == unix.SOCK_STREAM {
		wait = unix.NsecToTimeval(int64(10 * AskTimeout)) // the kernel sends again by itself
	}
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &wait); err != nil {
			return a, 0, err
		}
	}
	if err := retryInterrupted(func() error { return unix.Connect(fd, remote) }); err != nil {
		return a, 0, err
	}
	buf := make([]byte, 512)
	for retried = 0; ; retried++ {
		n := 0
		if err = retryInterrupted(func() error { _, err := unix.Write(fd, []byte("?\n")); return err }); err == nil {
			err = retryInterrupted(func() (err error) { n, err = unix.Read(fd, buf); return err })
		}
		if err == nil {
			return a, retried, json.Unmarshal(buf[:n], &a)
		}
		if kind == unix.SOCK_STREAM || !errors.Is(err, unix.EAGAIN) || retried == barrageTries-1 {
			return a, retried, err
		}
	}
}

// retryInterrupted repeats a call that a signal of Go's scheduler interrupted. A connect that was is going on meanwhile, and
// says so when it is asked again.
func retryInterrupted(call func() error) error {
	for {
		err := call()
		switch {
		case errors.Is(err, unix.EISCONN):
			return nil
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EALREADY):
			return err
		}
	}
}

func as4(a netip.Addr) [4]byte {
	if a.Is4() {
		return a.As4()
	}
	return [4]byte{}
}
