package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	v1 "bothways/internal/api/v1"
	"bothways/internal/engine"
	"bothways/internal/kstate"
	"bothways/internal/reconcile"
)

// Deps are what is shown. All but Counters give what was published last and wait for nobody; Counters asks the kernel.
type Deps struct {
	Snapshot func() *engine.Snapshot
	Kernel   func() reconcile.Status
	Sessions func() []v1.Session
	Counters func(context.Context) (map[string]kstate.Counter, error)
	Version  v1.Version
	Log      *slog.Logger
}

// Bounds of scrapes.
const (
	maxScrapes   = 4
	scrapeTime   = 10 * time.Second
	countersTime = 2 * time.Second
)

// Handler answers scrapes. What cannot be read is missing, and said by bothways_scrape_complete.
func Handler(d Deps) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{d}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog: errorLog{d.Log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTime,
	})
}

// errorLog is promhttp's way to say what went wrong.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Println(v ...any) { l.log.Warn("metrics are not served", "error", v) }

var (
	build    = gauge("build_info", "Always 1. Which program runs.", "version", "goversion")
	complete = gauge("scrape_complete", "1 if everything could be read for this scrape; otherwise the counters of packets are missing.")
)

// collector makes metrics of what is published, at each scrape.
type collector struct{ d Deps }

var _ prometheus.Collector = collector{}

// all are the metrics that a scrape may have.
func all() (out []metric) {
	out = append(out, build, complete)
	for _, list := range [][]metric{linkMetrics(), routeMetrics(), failoverMetrics(), kernelMetrics(), connectionMetrics()} {
		out = append(out, list...)
	}
	return out
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range all() {
		ch <- m.Desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	o, s := out(ch), c.d.Snapshot()
	o.put(build, 1, c.d.Version.Version, c.d.Version.Go)
	o.links(s)
	o.routes(s)
	o.sessions(c.d.Sessions())
	o.failovers(s)
	o.state(s)
	o.kernel(s, c.d.Kernel())
	o.connections(s)
	ctx, cancel := context.WithTimeout(context.Background(), countersTime)
	defer cancel()
	counters, err := c.d.Counters(ctx)
	if err != nil {
		c.d.Log.Warn("cannot read counters for metrics", "error", err)
	}
	o.counters(counters)
	o.flag(complete, err == nil)
}
