package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// metricsAddress is where the edge serves metrics in these tests, in its own namespace.
const metricsAddress = "127.0.0.1:8480"

// listening has an edge's configuration serve metrics.
func listening(address string) func(string) string {
	return func(config string) string {
		return strings.Replace(config, "api: {", fmt.Sprintf("api: {listen: %q, ", address), 1)
	}
}

// samples are those of a scrape, by their name with its labels.
type samples map[string]float64

// scrape reads the edge's metrics with a plain client, from its own namespace.
func scrape(ctx context.Context, w *lab.World, address string) (samples, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, to string) (c net.Conn, err error) {
		err = w.Exec(lab.Edge, func() error {
			c, err = (&net.Dialer{}).DialContext(ctx, network, to)
			return err
		})
		return c, err
	}}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return nil, fmt.Errorf("status %s: %s", res.Status, text)
	}
	out := samples{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		out[line[:i]] = v
	}
	return out, lines.Err()
}

func mustScrape(t *testing.T, w *lab.World) samples {
	t.Helper()
	s, err := scrape(within(t), w, metricsAddress)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// failoverOf waits for the failover of a subject that was told after a time.
func failoverOf(t *testing.T, w *lab.World, after time.Time, subject string) v1.Event {
	t.Helper()
	var found v1.Event
	eventually(t, func(ctx context.Context) error {
		var events []v1.Event
		if err := w.Show(ctx, "events", &events); err != nil {
			return err
		}
		i := slices.IndexFunc(events, func(e v1.Event) bool { return e.Kind == "failover" && e.Subject == subject && e.At.After(after) })
		if i < 0 {
			return fmt.Errorf("no failover of %s among the last events", subject)
		}
		found = events[i]
		return nil
	})
	return found
}

// signOf is when the evidence of a failover was: so long before it was seen, which was so long before it was told.
func signOf(e v1.Event) time.Time {
	told := e.Phases["kernel"]
	if routes, ok := e.Phases["routes"]; ok {
		told = routes
	}
	ms := func(x float64) time.Duration { return time.Duration(x * float64(time.Millisecond)) }
	return e.At.Add(-ms(told) - ms(e.Phases["detected"]))
}

// asTheEventsSay waits until the metrics of a link's failovers for a cause are those of its events: as many, and the phases of the
// last. Each family of a session that ends is one.
func asTheEventsSay(t *testing.T, w *lab.World, link, cause string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		var events []v1.Event
		if err := w.Show(ctx, "events", &events); err != nil {
			return err
		}
		var told []v1.Event
		for _, e := range events {
			if e.Kind == "failover" && e.Cause == cause && strings.HasPrefix(e.Subject, link+" ") {
				told = append(told, e)
			}
		}
		now, err := scrape(ctx, w, metricsAddress)
		if err != nil {
			return err
		}
		if n := now[fmt.Sprintf("bothways_failovers_total{cause=%q,link=%q}", cause, link)]; n == 0 || n != float64(len(told)) {
			return fmt.Errorf("%v failovers of %s by %s are counted, %d are told", n, link, cause, len(told))
		}
		same := func(e v1.Event) bool {
			for _, phase := range []string{"detected", "decided", "kernel"} {
				x, ok := now[fmt.Sprintf("bothways_failover_last_phase_seconds{cause=%q,link=%q,phase=%q}", cause, link, phase)]
				// The event has whole microseconds.
				if diff := x*1000 - e.Phases[phase]; !ok || diff > 0.0011 || diff < -0.0011 {
					return false
				}
			}
			return true
		}
		// Of two families that end in one turn either is the last.
		if !slices.ContainsFunc(told[max(0, len(told)-2):], same) {
			return fmt.Errorf("the last failover of %s by %s lasted otherwise by the metrics than by its event: %+v", link, cause, told)
		}
		return nil
	})
}

// TestFailoversAreMeasured fails links and sessions in four ways, looks at the evidence that each failover is timed from, and reads
// the same by a plain HTTP client.
func TestFailoversAreMeasured(t *testing.T) {
	w := raise(t, withoutGracefulRestart)
	edgeWith(t, w, listening(metricsAddress))
	settled(t, w)
	before := mustScrape(t, w)
	for _, want := range []string{
		`bothways_link_usable{family="ipv4",link="expressroute/primary"}`, `bothways_session_up{family="ipv4",link="isp-a/main"}`,
		`bothways_track_up{family="",link="isp-b/main",track="carrier"}`, `bothways_kernel_agrees`, `bothways_scrape_complete`,
	} {
		if before[want] != 1 {
			t.Errorf("%s is %v, want 1", want, before[want])
		}
	}
	if n := before[`bothways_failovers_total{cause="carrier",link="expressroute/primary"}`]; n != 0 {
		t.Errorf("%v failovers before any", n)
	}

	// A drain is timed from the command.
	began := time.Now()
	for _, verb := range []string{"drain", "undrain"} {
		if out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), verb, "isp-a/main"); err != nil {
			t.Fatal(out, err)
		}
		if e := failoverOf(t, w, began, "isp-a/main drained"); e.Cause != "drain" || e.Evidence != "command" || signOf(e).Before(began) {
			t.Errorf("drain: %+v", e)
		}
	}

	// slack is what a busy machine may put between two steps of a test.
	const slack = 2 * time.Second
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	for _, c := range []struct {
		name, fail    string
		silent        bool
		subject       string
		link, cause   string
		evidence      []string
		atLeast       time.Duration // detected
		before, after time.Duration // how far the evidence may be from the failure
	}{
		// The last look with a carrier is no more than a period before it is lost, where the machine keeps time.
		{"carrier", "expressroute/primary", false, "expressroute/primary carrier down", "expressroute/primary", "carrier", []string{"last look with a carrier"}, 0, slack, 0},
		// The router ends it with a word, or closes the connection.
		{"session", "session:expressroute/secondary", false, "expressroute/secondary session down", "expressroute/secondary", "session",
			[]string{"bgp notification", "end of the bgp connection"}, 0, 0, slack},
		// The router says nothing more: the hold time is 9 s, and a keepalive comes every 3 s.
		{"silent session", "session:isp-a/main", true, "isp-a/main session down", "isp-a/main", "session", []string{"last bgp message"}, 8500 * time.Millisecond, 3*time.Second + slack, slack},
	} {
		began = time.Now()
		if err := w.Fail(within(t), c.fail, c.silent); err != nil {
			t.Fatal(err)
		}
		ended := time.Now()
		e := failoverOf(t, w, began, c.subject)
		t.Logf("%s: %s: %s %v", c.name, e.Text, e.Evidence, e.Phases)
		if e.Cause != c.cause || !slices.Contains(c.evidence, e.Evidence) {
			t.Errorf("%s: cause %q and evidence %q, want %q and one of %q", c.name, e.Cause, e.Evidence, c.cause, c.evidence)
		}
		detected, ok := e.Phases["detected"]
		if !ok || detected < ms(c.atLeast) {
			t.Errorf("%s: detected %.1f ms after its evidence, want at least %.1f ms", c.name, detected, ms(c.atLeast))
		}
		if sign := signOf(e); sign.Before(began.Add(-c.before-10*time.Millisecond)) || sign.After(ended.Add(c.after+10*time.Millisecond)) {
			t.Errorf("%s: the evidence is %s after the failure began and %s after that was done", c.name, sign.Sub(began), sign.Sub(ended))
		}
		asTheEventsSay(t, w, c.link, c.cause)
	}
	now := mustScrape(t, w)
	sessions := now[`bothways_failovers_total{cause="session",link="expressroute/secondary"}`] + now[`bothways_failovers_total{cause="session",link="isp-a/main"}`]
	if sessions < 2 {
		t.Errorf("%v sessions went down, want two and more", sessions)
	}
	for _, row := range []struct {
		name string
		want float64
	}{
		{`bothways_failover_phase_seconds_count{cause="carrier",phase="kernel"}`, 1},
		{`bothways_failover_phase_seconds_count{cause="session",phase="kernel"}`, sessions},
		{`bothways_failover_phase_seconds_count{cause="drain",phase="kernel"}`, 1},
		{`bothways_failover_phase_seconds_bucket{cause="session",phase="detected",le="+Inf"}`, sessions},
		{`bothways_track_up{family="",link="expressroute/primary",track="carrier"}`, 0},
		{`bothways_link_drained{link="isp-a/main"}`, 0},
		{`bothways_path_usable_links{path="expressroute"}`, 1},
		{`bothways_session_up{family="ipv4",link="isp-a/main"}`, 0},
	} {
		if got, ok := now[row.name]; !ok || got != row.want {
			t.Errorf("%s is %v (%v), want %v", row.name, got, ok, row.want)
		}
	}
}

// TestMetricsMoveWithTheConfiguration reloads and restarts the edge: the listener moves, stays where it cannot, and is handed over
// while somebody scrapes all the time. What was counted of failovers goes on.
func TestMetricsMoveWithTheConfiguration(t *testing.T) {
	w := raise(t, nil)
	own, err := w.EdgeConfig()
	if err != nil {
		t.Fatal(err)
	}
	edgeWith(t, w, listening(metricsAddress))
	settled(t, w)
	if out, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "drain", "isp-a/main"); err != nil {
		t.Fatal(out, err)
	}
	const drains = `bothways_failovers_total{cause="drain",link="isp-a/main"}`
	counted := func(what string) {
		t.Helper()
		eventually(t, func(ctx context.Context) error {
			s, err := scrape(ctx, w, metricsAddress)
			if err != nil || s[drains] != 1 {
				return fmt.Errorf("%s: %v drains: %w", what, s[drains], err)
			}
			return nil
		})
	}
	counted("at first")

	// Scraped all the time, a restart is not noticed.
	stop, scraped := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				scraped <- nil
				return
			default:
			}
			if _, err := scrape(within(t), w, metricsAddress); err != nil {
				scraped <- fmt.Errorf("scrape %d: %w", n, err)
				return
			}
		}
	}()
	for range 2 {
		if _, err := w.RestartEdge(within(t), listening(metricsAddress)(own)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-scraped; err != nil {
		t.Errorf("during a restart: %v", err)
	}
	counted("after two restarts")

	reload := func(address string) (string, error) {
		t.Helper()
		text := own
		if address != "" {
			text = listening(address)(own)
		}
		if err := w.WriteEdge(text); err != nil {
			t.Fatal(err)
		}
		return inEdge(w, binary, "--socket", w.EdgeSocket(), "reload")
	}
	nobody := func(address string) {
		t.Helper()
		if s, err := scrape(within(t), w, address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("at %s: %d samples, %v; want nobody there", address, len(s), err)
		}
	}
	const other = "127.0.0.1:8481"
	if out, err := reload(other); err != nil {
		t.Fatal(out, err)
	}
	if s, err := scrape(within(t), w, other); err != nil || s[drains] != 1 {
		t.Errorf("at the other address: %v, %v", s[drains], err)
	}
	nobody(metricsAddress)
	// Somebody else has the port: the reload, or the restart, is refused, and nothing is lost.
	var taken net.Listener
	if err := w.Exec(lab.Edge, func() (err error) { taken, err = net.Listen("tcp", metricsAddress); return err }); err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() (string, error){
		"reload": func() (string, error) { return reload(metricsAddress) },
		"restart": func() (string, error) {
			_, err := w.RestartEdge(within(t), listening(metricsAddress)(own))
			return fmt.Sprint(err), err
		},
	} {
		if out, err := do(); err == nil || !strings.Contains(out, "api.listen: ") || !strings.Contains(out, "address already in use") {
			t.Errorf("%s to a port that is taken: %q, %v", what, out, err)
		}
		if s, err := scrape(within(t), w, other); err != nil || s[drains] != 1 {
			t.Errorf("after a %s that was refused: %v, %v", what, s[drains], err)
		}
	}
	taken.Close()
	// A restart moves it as well as a reload does.
	if _, err := w.RestartEdge(within(t), listening(metricsAddress)(own)); err != nil {
		t.Fatal(err)
	}
	counted("after a restart with another address")
	nobody(other)
	if out, err := reload(""); err != nil {
		t.Fatal(out, err)
	}
	nobody(metricsAddress)
	if out, err := reload(metricsAddress); err != nil {
		t.Fatal(out, err)
	}
	counted("after it was gone")
	// What changes something is not there by TCP, whoever asks.
	var code int
	err = w.Exec(lab.Edge, func() error {
		c, err := net.Dial("tcp", netip.MustParseAddrPort(metricsAddress).String())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, "POST /v1/stop HTTP/1.1\r\nHost: edge\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			return err
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			code = res.StatusCode
		}
		return err
	})
	if err != nil || code != http.StatusNotFound {
		t.Errorf("POST /v1/stop by TCP: %d, %v", code, err)
	}
}
