package metrics

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	v1 "bothways/internal/api/v1"
	"bothways/internal/config"
	"bothways/internal/engine"
	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/plan"
	"bothways/internal/proof"
	"bothways/internal/reconcile"
	"bothways/internal/rib"
	"bothways/internal/route"
	"bothways/internal/track"
)

var update = flag.Bool("update", false, "write the golden text anew")

var began = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// seen is a track that went up, or down, once.
func seen(up bool) track.State {
	s, _ := track.State{}.Observe(began, up, "test", track.Immediate())
	return s
}

func probed() track.Probes {
	p := track.NewProbes(track.ProbeParams{Window: 4, MaxLoss: 90}, []string{"icmp 198.18.53.1", "tcp 198.18.53.2:443", "dns 198.18.53.3"})
	for i := range 4 {
		p, _ = p.Observe(began, track.ProbeResult{Target: "icmp 198.18.53.1", OK: i != 1, RTT: 12 * time.Millisecond, Why: "no answer"})
	}
	p, _ = p.Observe(began, track.ProbeResult{Target: "tcp 198.18.53.2:443", Why: "no answer"})
	return p
}

// sample is a circuit with one link that died by BFD, and an ISP with probes.
func sample() *engine.Snapshot {
	addr := netip.MustParseAddr
	buckets := func(at int) []uint64 {
		b := make([]uint64, len(engine.PhaseBounds())+1)
		b[at]++
		return b
	}
	ms := time.Millisecond
	return &engine.Snapshot{
		Site: "melbourne", Mode: plan.Hold, Waiting: 1, Sequence: 12,
		Links: []engine.LinkView{
			{Name: "er/primary", Path: "er", Interface: "er0", BGP: true, Carrier: seen(true), Families: []engine.LinkFamilyView{{
				Family: route.IPv4, Neighbor: addr("192.0.2.2"), Track: seen(true), HasBFD: true, BFD: seen(false),
				Up: true, Counts: rib.Counts{Received: 130, Accepted: 100, Staged: 2, Stale: 1}, Limit: 1000, Level: 1, Held: 3,
				Astray: engine.Astray{Stranded: 4}, Unanswered: 5, Surveyed: began,
			}}},
			{Name: "isp/main", Path: "isp", Interface: "wan0", Drained: true, Carrier: seen(true), Families: []engine.LinkFamilyView{{
				Family: route.IPv4, Neighbor: addr("198.18.1.1"), Probes: probed(), Usable: true, Astray: engine.Astray{Staying: 6},
			}}},
		},
		Paths: []engine.PathView{
			{Name: "er", Provider: "azure", Circuit: true, Links: []string{"er/primary"}},
			{Name: "isp", Provider: "internet", Links: []string{"isp/main"}},
		},
		Rankings: []engine.RankingView{{Family: route.IPv4, Outcome: rib.NoTarget}, {Family: route.IPv4}, {Family: route.IPv4}},
		Proofs: []engine.ProofView{
			{Subject: proof.Subject{Link: "er/primary"}, State: proof.State{Verdict: proof.Same}},
			{Subject: proof.Subject{Link: "er/primary"}, State: proof.State{Verdict: proof.Other}},
			{Subject: proof.Subject{Link: "er/primary"}, State: proof.State{Verdict: proof.Same}},
		},
		Symmetry: engine.SymmetryView{Findings: []config.Finding{{Severity: config.SeverityError}}},
		Findings: []config.Finding{{Severity: config.SeverityError}, {Severity: config.SeverityWarning}},
		Flows:    engine.FillView{Count: 900, Limit: 1000, Level: flow.Near},
		Use: []engine.UseView{
			{Link: "er/primary", Usage: flow.Usage{Address: addr("198.51.100.64"), Connections: 20000, Busiest: 10}, Protocol: "tcp"},
			{Link: "er/primary", Usage: flow.Usage{Address: addr("198.51.100.65"), Connections: 17000, Busiest: 16500}, Protocol: "tcp", Level: flow.Full},
		},
		Prefixes: [2]int{131, 7},
		Failovers: &engine.Failovers{
			Counts: []engine.FailoverCount{{Link: "er/primary", Cause: engine.CauseBFD, Count: 2}},
			Phases: []engine.PhaseCount{
				{Phase: engine.PhaseDetected, Cause: engine.CauseBFD, Buckets: buckets(10), Sum: 153 * ms},
				{Phase: engine.PhaseKernel, Cause: engine.CauseBFD, Buckets: buckets(len(engine.PhaseBounds())), Sum: 40 * time.Second},
			},
			Last: []engine.LastFailover{{Link: "er/primary", Cause: engine.CauseBFD, Seen: began.Add(1500 * ms), Lost: &track.Lost{Probes: 4, Proofs: 1},
				Phases: []engine.Phase{{Name: engine.PhaseDetected, After: 153 * ms}, {Name: engine.PhaseKernel, After: 900 * time.Microsecond}}}},
			Lost: []engine.LostCount{{Link: "er/primary", Lost: track.Lost{Probes: 9, Proofs: 1}}},
		},
	}
}

func deps() Deps {
	return Deps{
		Snapshot: sample,
		Kernel: func() reconcile.Status {
			return reconcile.Status{Agrees: true, Compared: began, Comparisons: 8, Disagreed: 1, Routes: 14717, Pending: 2, Nexthops: 11, Rules: 6, Repaired: 3, Refused: 1, Sequence: 10}
		},
		Sessions: func() []v1.Session {
			return []v1.Session{
				{Link: "er/primary", Family: "ipv4", State: "Established", Since: began, Announced: 1, UpdatesIn: 44, UpdatesOut: 2, Established: 3},
				{Link: "er/secondary", Family: "ipv4", State: "OpenSent"},
			}
		},
		Counters: func(context.Context) (map[string]kstate.Counter, error) {
			return map[string]kstate.Counter{"asymmetry/isp/er": {Packets: 3}, "astray/er/isp": {}, "related/isp/er": {Packets: 2}, "vpn/er": {Packets: 1},
				"guard_leak": {Packets: 5}, "guard_transit": {}, "unmarked": {Packets: 8}, "something else": {Packets: 1}}, nil
		},
		Version: v1.Version{Version: "v1.2.3", Go: "go1.26"}, Log: slog.New(slog.DiscardHandler),
	}
}

// TestScrape compares a whole scrape of the sample, without the process's own metrics, with its golden text.
func TestScrape(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collector{deps()})
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	text := w.Body
	const golden = "testdata/scrape.txt"
	if *update {
		if err := os.WriteFile(golden, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text.Bytes(), want) {
		t.Errorf("want %s, found\n%s", golden, text.String())
	}
	for _, m := range all() {
		if name := nameOf(t, m); !bytes.Contains(want, []byte("\n"+name)) {
			t.Errorf("the sample does not show %s", name)
		}
	}
}

func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{deps()})
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

var fqName = regexp.MustCompile(`fqName: "([a-z_]+)", help: "([^"]+)"`)

func nameOf(t *testing.T, m metric) string {
	t.Helper()
	x := fqName.FindStringSubmatch(m.String())
	if x == nil {
		t.Fatalf("no name in %s", m)
	}
	return x[1]
}

// TestTheManualNamesEveryMetric, and no other.
func TestTheManualNamesEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, x := range regexp.MustCompile(`bothways_[a-z_]+`).FindAllString(string(text), -1) {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if strings.HasPrefix(x, "bothways_failover_phase_seconds") {
				x = strings.TrimSuffix(x, suffix)
			}
		}
		named[x] = true
	}
	for _, m := range all() {
		name := nameOf(t, m)
		if !named[name] {
			t.Errorf("docs/operating.md does not name %s", name)
		}
		delete(named, name)
	}
	for name := range named {
		t.Errorf("docs/operating.md names %s, which there is not", name)
	}
}

func scrape(t *testing.T, d Deps) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(d).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return w.Code, w.Body.String()
}

func TestHandler(t *testing.T) {
	code, text := scrape(t, deps())
	for _, want := range []string{"\nbothways_scrape_complete 1\n", "\ngo_goroutines ", "\nprocess_open_fds ", "\nbothways_guard_packets_total{guard=\"leak\"} 5\n"} {
		if code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d: no %q in\n%s", code, want, text)
		}
	}
}

// TestWhatCannotBeReadIsMissing, and the rest is there.
func TestWhatCannotBeReadIsMissing(t *testing.T) {
	d := deps()
	d.Counters = func(ctx context.Context) (map[string]kstate.Counter, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the kernel is asked without a limit in time")
		}
		return nil, errors.New("no such table")
	}
	code, text := scrape(t, d)
	if code != http.StatusOK || !strings.Contains(text, "\nbothways_scrape_complete 0\n") || !strings.Contains(text, "\nbothways_rib_prefixes{family=\"ipv6\"} 7\n") ||
		strings.Contains(text, "bothways_guard") {
		t.Errorf("%d\n%s", code, text)
	}
}

// TestBeforeTheBeginning: the first snapshot knows nothing.
func TestBeforeTheBeginning(t *testing.T) {
	d := deps()
	d.Snapshot = func() *engine.Snapshot { return &engine.Snapshot{Site: "s"} }
	d.Kernel = func() reconcile.Status { return reconcile.Status{} }
	if code, text := scrape(t, d); code != http.StatusOK || strings.Contains(text, "timestamp_seconds -") || !strings.Contains(text, "\nbothways_kernel_agrees 0\n") {
		t.Errorf("%d\n%s", code, text)
	}
}
