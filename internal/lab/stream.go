package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"

	"bothways/internal/lab/farside"
)

// Stream is a steady flow of numbered packets from an inside host to a service that sends each back.
type Stream struct {
	id       uint64
	conn     *net.UDPConn
	service  *farside.Services
	count    *farside.StreamCount
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	sent     atomic.Uint64
	refused  atomic.Uint64 // by the host's own kernel
	returned atomic.Uint64
	gap      atomic.Int64 // longest time between two returned packets
}

// Loss is what became of a stream's packets.
type Loss struct {
	Sent, Arrived, Returned uint64
	// Out were lost on the way to the service, Back on the way from it.
	Out, Back uint64
	// Changes is how often the service saw another source address or port.
	Changes uint64
	// Gap is the longest time in which none came back.
	Gap time.Duration
}

func (l Loss) String() string {
	return fmt.Sprintf("%d sent, %d lost out, %d lost back, longest gap %s", l.Sent, l.Out, l.Back, l.Gap.Round(time.Microsecond))
}

// Stream starts one of pps packets a second. It is one flow, from one port.
func (w *World) Stream(ctx context.Context, from string, to netip.Addr, pps int) (*Stream, error) {
	c, err := w.dial(ctx, from, "udp", to, farside.StreamPort)
	if err != nil {
		return nil, err
	}
	s := &Stream{id: rand.Uint64(), conn: c.(*net.UDPConn), service: w.cloud}
	if slices.Contains(w.internetAddresses(), to) {
		s.service = w.internet
	}
	if err := farside.Enlarge(s.conn); err != nil {
		c.Close()
		return nil, err
	}
	s.count = s.service.Stream(s.id)
	ctx, s.cancel = context.WithCancel(ctx)
	s.tasks.Go(s.receive)
	s.tasks.Go(func() { s.send(ctx, pps) })
	return s, nil
}

func (w *World) internetAddresses() []netip.Addr {
	var out []netip.Addr
	for _, h := range w.Description.Internet {
		out = append(out, h.Addresses...)
	}
	return out
}

// burst bounds what is sent at once after a pause of this process: more would overrun queues on the way.
const burst = 64

func (s *Stream) send(ctx context.Context, pps int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	batch := ipv4.NewPacketConn(s.conn) // sendmmsg is the same for both families
	messages := make([]ipv4.Message, burst)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 64)}
		binary.BigEndian.PutUint64(messages[i].Buffers[0], s.id)
	}
	start, number := time.Now(), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := uint64(time.Since(start).Seconds()*float64(pps)) - number
		if due > uint64(pps)/5 {
			start, due = time.Now().Add(-time.Duration(float64(number)/float64(pps)*float64(time.Second))), burst // a long pause is not made up for
		}
		for due > 0 {
			n := min(int(due), burst)
			for i := range n {
				binary.BigEndian.PutUint64(messages[i].Buffers[0][8:], number+uint64(i))
			}
			done, err := batch.WriteBatch(messages[:n], 0)
			if err != nil || done <= 0 {
				// An ICMP error of an earlier packet, or no way out: this one was not sent.
				s.refused.Add(1)
				break
			}
			number += uint64(done)
			s.sent.Add(uint64(done))
			due -= uint64(done)
		}
	}
}

func (s *Stream) receive() {
	buf := make([]byte, 2048)
	last := time.Now()
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error
		}
		if n < farside.StreamHeader || binary.BigEndian.Uint64(buf) != s.id {
			continue
		}
		now := time.Now()
		s.gap.Store(max(s.gap.Load(), int64(now.Sub(last))))
		last = now
		s.returned.Add(1)
	}
}

// Loss is what is known now; what is on its way counts as lost.
func (s *Stream) Loss() Loss {
	// In this order nothing counts as lost that arrived meanwhile.
	l := Loss{Gap: time.Duration(s.gap.Load()), Changes: s.count.Changed.Load()}
	l.Sent = s.sent.Load()
	l.Arrived = s.count.Arrived.Load()
	l.Returned = s.returned.Load()
	l.Out = l.Sent - min(l.Arrived, l.Sent)
	l.Back = l.Arrived - min(l.Returned, l.Arrived)
	return l
}

// Refused counts attempts to send that the inside host's own kernel refused, for an ICMP error that came back.
func (s *Stream) Refused() uint64 { return s.refused.Load() }

// Stop ends the stream, waits for what is on its way, and says what was lost.
func (s *Stream) Stop() Loss {
	s.cancel()
	for quiet := 0; quiet < 20; {
		before := s.Loss()
		if before.Out+before.Back == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
		if quiet++; s.Loss() != before {
			quiet = 0
		}
	}
	l := s.Loss()
	s.conn.Close()
	s.tasks.Wait()
	s.service.EndStream(s.id)
	return l
}
