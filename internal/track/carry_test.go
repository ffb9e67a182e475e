package track

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestCarriedIsTheSame takes a link's tracks through text: what comes out says the same of everything that follows.
func TestCarriedIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets := []string{"icmp 192.0.2.1", "tcp 192.0.2.2:443", "dns 192.0.2.3"}
		p := ProbeParams{Quorum: rapid.IntRange(0, 3).Draw(t, "quorum"), DownAfter: rapid.IntRange(1, 3).Draw(t, "down"), UpAfter: rapid.IntRange(1, 3).Draw(t, "up"),
			Window: rapid.IntRange(0, 4).Draw(t, "window"), MaxLoss: 50, UpDelay: time.Duration(rapid.IntRange(0, 3).Draw(t, "delay")) * time.Second,
			FlapWindow: 10 * time.Second, MaxUpDelay: time.Minute}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		l := Link{}
		l.Probes[0] = NewProbes(p, targets)
		step := func(l *Link) {
			i := rapid.IntRange(0, len(targets)-1).Draw(t, "target")
			ok := rapid.Bool().Draw(t, "ok")
			r := ProbeResult{Target: targets[i], OK: ok, RTT: time.Duration(rapid.IntRange(1, 50).Draw(t, "rtt")) * time.Millisecond, Why: "no answer"}
			l.Probes[0], _ = l.Probes[0].Observe(now, r)
			l.Carrier, _ = l.Carrier.Observe(now, ok, "carrier", Params{DownAfter: 2, UpAfter: 2, UpDelay: time.Second})
		}
		for range rapid.IntRange(0, 40).Draw(t, "before") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			step(&l)
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var c Link
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(l, c) {
			t.Fatalf("%+v became %+v", l, c)
		}
	})
}

func TestCarriedRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"Carrier": {"Worse": 1}}`:           "unknown field",
		`{"Carrier": {"Bad": -1}}`:            "counts",
		`{"Probes": [{"Level": 1000}, {}]}`:   "back-off",
		`{"Probes": [{"Targets": [1]}, {}]}`:  "cannot unmarshal",
		`{"Neighbors": [{"Since": "x"}, {}]}`: "parsing time",
	} {
		var l Link
		if err := json.Unmarshal([]byte(text), &l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
