package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"bothways/internal/lab"
)

// daemonIn runs a program in a namespace until the test ends.
func daemonIn(t *testing.T, w *lab.World, space string, cmd *exec.Cmd) {
	t.Helper()
	if err := w.Exec(space, cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it ended already, or ends now
		_ = cmd.Wait()
	})
}

const iperfSeconds = 3

// transfer is one of iperf3 from an inside host.
type transfer struct {
	from string
	to   netip.Addr
	port int
	rate int // Mbit/s that it sends at most
}

// iperf runs transfers side by side and returns what arrived of each, in megabits a second. The first second does not count:
// buffers fill then.
func iperf(t *testing.T, w *lab.World, transfers ...transfer) []float64 {
	t.Helper()
	rates := make([]float64, len(transfers))
	var tasks sync.WaitGroup
	for i, x := range transfers {
		tasks.Go(func() {
			var out []byte
			ctx := within(t)
			err := w.Exec(x.from, func() (err error) {
				out, err = exec.CommandContext(ctx, "iperf3", "--client", x.to.String(), "--port", fmt.Sprint(x.port),
					"--bitrate", fmt.Sprintf("%dM", x.rate), "--time", fmt.Sprint(iperfSeconds), "--omit", "1", "--json").CombinedOutput()
				return err
			})
			var result struct {
				End struct {
					Received struct {
						Rate float64 `json:"bits_per_second"`
					} `json:"sum_received"`
				} `json:"end"`
			}
			if err == nil {
				err = json.Unmarshal(out, &result)
			}
			if err != nil {
				t.Errorf("iperf3 from %s: %v: %s", x.from, err, out)
			}
			rates[i] = result.End.Received.Rate / 1e6
		})
	}
	tasks.Wait()
	return rates
}

// TestBackupTransfer sends the backup's data and another host's at the same time. On ISP B's line of 40 Mbit/s the backup never
// has more than its limit of 5, and the other gets the rest; on the circuit it has all that it asks for.
func TestBackupTransfer(t *testing.T) {
	t.Parallel()
	need(t, "iperf3", "iperf3")
	need(t, "tc", "iproute2")
	const line, limit, asked = 40, 5, 200
	w := raise(t, nil)
	edgeWith(t, w, func(c string) string {
		head, _, _ := strings.Cut(c, "steer:")
		_, tail, _ := strings.Cut(c, "api:")
		return head + "api:" + tail + fmt.Sprintf(`steer:
  - {name: snapshots, from: [10.20.9.0/24], use: [expressroute, isp-b], limit: {isp-b: %dmbit}}
`, limit)
	})
	settled(t, w)
	// The line's capacity is what the far end lets through.
	inRouter(t, w, "isp-b", "tc", "qdisc", "add", "dev", "cloud", "root", "tbf", "rate", fmt.Sprintf("%dmbit", line), "burst", "64kb", "latency", "50ms")
	to := address(t, w, "storage", false)
	backup, other := transfer{"backup", to, 5301, asked}, transfer{"client", to, 5302, asked}
	for _, x := range []transfer{backup, other} {
		daemonIn(t, w, lab.Cloud, exec.Command("iperf3", "--server", "--bind", x.to.String(), "--port", fmt.Sprint(x.port)))
		eventually(t, func(contextOf) error {
			return w.Exec(lab.Cloud, func() error {
				out, err := exec.Command("ss", "-Hltn", fmt.Sprintf("sport = :%d", x.port)).CombinedOutput()
				if err != nil || len(out) == 0 {
					return fmt.Errorf("iperf3 does not listen yet: %v %s", err, out)
				}
				return nil
			})
		})
	}
	circuit := iperf(t, w, backup, other)
	fail(t, w, false, "expressroute/primary", "expressroute/secondary", "isp-a/main")
	via(t, w, "backup", "storage", "isp-b")
	via(t, w, "client", "storage", "isp-b")
	internet := iperf(t, w, backup, other)
	t.Logf("Mbit/s of backup and other: on the circuit %.1f, on a line of %d Mbit/s with a limit of %d %.1f", circuit, line, limit, internet)
	if internet[0] > limit*1.02 || internet[0] < limit/2 {
		t.Errorf("on the Internet line the backup has %.2f Mbit/s, want what its limit of %d allows and no more", internet[0], limit)
	}
	// TCP and IP take some 5 % of the line, the queue's losses some more.
	if rest := float64(line) - internet[0]; internet[1] < 0.8*rest {
		t.Errorf("the other transfer has %.1f Mbit/s, want most of the remaining %.1f", internet[1], rest)
	}
	if circuit[0] < 0.8*asked || circuit[1] < 0.8*asked {
		t.Errorf("on the circuit the backup has %.1f Mbit/s beside %.1f of another, both ask for %d", circuit[0], circuit[1], asked)
	}
	if out, err := inEdge(w, "tc", "-s", "class", "show", "dev", "wan1"); err != nil || !strings.Contains(out, "htb") {
		t.Errorf("no class limits the backup (%v): %s", err, out)
	}
}
