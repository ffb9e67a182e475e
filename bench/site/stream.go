package site

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// port is where the packets of a stream go.
const port = 4242

// Stream is packets sent from inside at an even rate, over the destinations in turn, and what became of each.
type Stream struct {
	site         *Site
	destinations []netip.Addr
	rate         int

	sender *sender

	stop  context.CancelFunc
	wait  sync.WaitGroup
	conns []*net.UDPConn

	sent    []int64   // when, by number of the packet; from the sender once it has stopped
	arrived [][]int64 // by peer, by number; 0: not there
	done    bool
}

// maxSeconds bounds a stream.
const maxSeconds = 120

// Start begins a stream of rate packets a second. The destinations must have been given to Answer.
func (s *Site) Start(ctx context.Context, destinations []netip.Addr, rate int) (*Stream, error) {
	st := &Stream{site: s, destinations: destinations, rate: rate, sender: &sender{}}
	ctx, st.stop = context.WithTimeout(ctx, maxSeconds*time.Second)
	for range s.Peers {
		st.arrived = append(st.arrived, make([]int64, rate*maxSeconds))
	}
	for i, p := range s.Peers {
		var c *net.UDPConn
		err := p.Space.Do(func() error {
			var err error
			c, err = net.ListenUDP("udp", &net.UDPAddr{Port: port})
			return err
		})
		if err == nil {
			err = prepare(c)
		}
		if err != nil {
			st.Stop()
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		st.conns = append(st.conns, c)
		st.wait.Go(func() { st.receive(c, st.arrived[i]) })
	}
	if err := st.send(ctx); err != nil {
		st.Stop()
		return nil, err
	}
	return st, nil
}

func prepare(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		if serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); serr == nil {
			// The kernel's own time of arrival: this process may not get to run while a router is busy.
			serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		}
	})
	if err == nil {
		err = serr
	}
	return err
}

func (st *Stream) receive(c *net.UDPConn, arrived []int64) {
	buf, oob := make([]byte, 64), make([]byte, 128)
	for {
		n, on, _, _, err := c.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		if n < 8 {
			continue
		}
		if seq := binary.BigEndian.Uint64(buf); seq < uint64(len(arrived)) {
			arrived[seq] = arrival(oob[:on])
		}
	}
}

func arrival(oob []byte) int64 {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err == nil {
		for _, m := range messages {
			if m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
				return int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
			}
		}
	}
	return time.Now().UnixNano()
}

// Stop ends the stream once what is under way has arrived.
func (st *Stream) Stop() {
	if st.done {
		return
	}
	st.done = true
	st.sent = st.sender.stop()
	st.stop()
	time.AfterFunc(200*time.Millisecond, func() {
		for _, c := range st.conns {
			c.Close()
		}
	})
	st.wait.Wait()
}

// Lost is how many packets that were sent after from arrived nowhere, and how long the longest run of any destination's
// lost packets lasted. The stream must have stopped.
func (st *Stream) Lost(from time.Time) (packets int, longest time.Duration) {
	runs := make([]int64, len(st.destinations)) // when the run of a destination began
	for seq, at := range st.sent {
		d := seq % len(st.destinations)
		if at < from.UnixNano() {
			continue
		}
		if st.by(seq) >= 0 {
			runs[d] = 0
			continue
		}
		packets++
		if runs[d] == 0 {
			runs[d] = at
		}
		longest = max(longest, time.Duration(at-runs[d]))
	}
	return packets, longest
}

func (st *Stream) by(seq int) int {
	for i := range st.arrived {
		if st.arrived[i][seq] != 0 {
			return i
		}
	}
	return -1
}

// Late is how long the sender stood still before the packet that Moved goes by: what the router did meanwhile is not known.
func (st *Stream) Late(at time.Time, took time.Duration) time.Duration {
	var gap int64
	for seq := 1; seq < len(st.sent) && st.sent[seq] <= at.UnixNano()+int64(took); seq++ {
		if d := st.sent[seq] - st.sent[seq-1]; st.sent[seq] > at.UnixNano()+int64(took)-int64(lateWindow) {
			gap = max(gap, d)
		}
	}
	return time.Duration(gap)
}

// lateWindow is how long before the move the sender is looked at: each destination has had a packet by then.
const lateWindow = 2 * time.Millisecond

// Moved says how long after at the last destination had moved to a peer: from then on packets to every destination
// arrive there. False: they do not.
func (st *Stream) Moved(at time.Time, peer *Peer) (time.Duration, bool) {
	to := 0
	for i, p := range st.site.Peers {
		if p == peer {
			to = i
		}
	}
	first := make([]int64, len(st.destinations))
	for seq := range st.sent {
		d := seq % len(st.destinations)
		switch got := st.arrived[to][seq]; {
		case st.sent[seq] < at.UnixNano() && got == 0:
		case got == 0 && st.by(seq) >= 0:
			first[d] = 0 // by another peer: not moved yet
		case got != 0 && first[d] == 0:
			first[d] = got
		}
	}
	var latest int64
	for _, f := range first {
		if f == 0 {
			return 0, false
		}
		latest = max(latest, f)
	}
	return time.Duration(latest - at.UnixNano()), true
}
