package router

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what processes have used.
type Usage struct {
	CPU  time.Duration // user and system
	Peak int64         // bytes resident at the most, summed over the processes (VmHWM)
	Now  int64         // bytes resident now, summed (VmRSS)
}

// ticks is USER_HZ, which Linux gives all architectures that Go runs on as 100.
const ticks = 100

func usage(roots []int) (Usage, error) {
	var u Usage
	for _, pid := range tree(roots) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it ended meanwhile
		}
		// The name, in parentheses, may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, i := range []int{11, 12} { // utime, stime
			n, err := strconv.ParseInt(fields[i], 10, 64)
			if err != nil {
				return u, fmt.Errorf("process %d: %w", pid, err)
			}
			u.CPU += time.Duration(n) * time.Second / ticks
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		u.Peak += kilobytes(status, "VmHWM:")
		u.Now += kilobytes(status, "VmRSS:")
	}
	return u, nil
}

func kilobytes(status []byte, key string) int64 {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// tree lists processes with all that descend from them.
func tree(roots []int) []int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return roots
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	out := slices.Clone(roots)
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

// await waits until a process has ended, and kills it where it does not.
func await(pid int, limit time.Duration) {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if unix.Kill(pid, 0) != nil {
			return
		}
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}
