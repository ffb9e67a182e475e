package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is a name with its meaning.
type metric struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("bothways_"+name, help, labels, nil), prometheus.GaugeValue}
}

// counter is what only grows while the daemon, and those that take over from it, run.
func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("bothways_"+name, help, labels, nil), prometheus.CounterValue}
}

// out is where a scrape's metrics go.
type out chan<- prometheus.Metric

func (o out) put(m metric, v float64, labels ...string) {
	o <- prometheus.MustNewConstMetric(m.Desc, m.kind, v, labels...)
}

func (o out) count(m metric, n int, labels ...string) { o.put(m, float64(n), labels...) }

func (o out) flag(m metric, on bool, labels ...string) {
	v := 0.0
	if on {
		v = 1
	}
	o.put(m, v, labels...)
}

// at puts a time, in seconds since 1970. One that is not known is left out.
func (o out) at(m metric, t time.Time, labels ...string) {
	if !t.IsZero() {
		o.put(m, float64(t.UnixMicro())/1e6, labels...)
	}
}

// word is a label of what is shown to people with spaces or hyphens.
func word(s string) string { return strings.NewReplacer(" ", "_", "-", "_").Replace(s) }
