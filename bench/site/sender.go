package site

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SenderCommand is the argument by which this program is the sender of a stream.
const SenderCommand = "stream-sender"

// sender is the process that sends a stream's packets, and the memory that it writes down in when it sent each. It is a process of
// its own, ahead of all others of the machine: packets come from outside, and are not late because a router, or the rest of this
// program, is busy.
type sender struct {
	cmd    *exec.Cmd
	memory []byte
}

// send starts the sender in the namespace of the inside.
func (st *Stream) send(ctx context.Context) error {
	file, err := os.CreateTemp("", "bench-sent-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	size := 8 * st.rate * maxSeconds
	if err := file.Truncate(int64(size)); err != nil {
		return err
	}
	memory, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	st.sender.memory = memory
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{SenderCommand, strconv.Itoa(st.rate)}
	for _, d := range st.destinations {
		args = append(args, d.String())
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{file}, os.Stderr
	if err := st.site.LAN.Do(cmd.Start); err != nil {
		return err
	}
	st.sender.cmd = cmd
	for deadline := time.Now().Add(5 * time.Second); st.sender.at(0) == 0; {
		if time.Now().After(deadline) {
			return fmt.Errorf("the sender does not begin")
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// at is when a packet was sent; 0: it was not.
func (s *sender) at(seq int) int64 { return int64(binary.NativeEndian.Uint64(s.memory[8*seq:])) }

// stop ends the sender, and gives when it sent each packet.
func (s *sender) stop() (sent []int64) {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // killed
	}
	for seq := 0; 8*seq < len(s.memory) && s.at(seq) != 0; seq++ {
		sent = append(sent, s.at(seq))
	}
	if s.memory != nil {
		_ = unix.Munmap(s.memory)
		s.memory = nil
	}
	return sent
}

// Send is the sender: it sends numbered packets in bursts of a millisecond, to the destinations in turn, until it is killed; all are
// of one family. What it was late for it sends at once. Its file 3 takes when it sent each.
func Send(args []string) error {
	rate, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	family := unix.AF_INET
	var to []unix.Sockaddr
	for _, a := range args[1:] {
		d, err := netip.ParseAddr(a)
		if err != nil {
			return err
		}
		if d.Is4() {
			to = append(to, &unix.SockaddrInet4{Port: port, Addr: d.As4()})
			continue
		}
		family = unix.AF_INET6
		to = append(to, &unix.SockaddrInet6{Port: port, Addr: d.As16()})
	}
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0); err != nil {
		return os.NewSyscallError("sched_setattr", err)
	}
	size := rate * maxSeconds
	memory, err := unix.Mmap(3, 0, 8*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	sent := unsafe.Slice((*int64)(unsafe.Pointer(&memory[0])), size)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	buf := make([]byte, 64)
	pause := unix.Timespec{Nsec: int64(time.Millisecond)}
	start := time.Now()
	for seq := 0; seq < size; {
		for due := int(time.Since(start).Seconds() * float64(rate)); seq < min(due, size); seq++ {
			binary.BigEndian.PutUint64(buf, uint64(seq))
			sent[seq] = time.Now().UnixNano()
			// A packet that the host has no way for is a lost packet.
			_ = unix.Sendto(fd, buf, 0, to[seq%len(to)])
		}
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &pause, nil)
	}
	return nil
}
