// Package metrics shows the daemon's published state as Prometheus metrics. It reads at each scrape what the owners have
// published, and computes nothing: what has to be counted is counted by who owns it.
package metrics
