package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// metricsPath is where Prometheus asks unless it is told otherwise.
const metricsPath = "/metrics"

// Bounds of what everybody who reaches a TCP address may ask for.
const (
	maxPublic   = 32 // connections
	publicRead  = 5 * time.Second
	publicWrite = 15 * time.Second
)

// ServePublic answers on a TCP address until the context ends. Whoever reaches it may ask, as whichever user: so there is only
// what changes nothing, costs little and asks the owner of the state nothing, which is metrics. A connection is for one
// question: one that is idle must not keep others out.
func ServePublic(ctx context.Context, ln net.Listener, metrics http.Handler, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, metrics)
	srv := &http.Server{Handler: mux, ReadTimeout: publicRead, WriteTimeout: publicWrite, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	srv.SetKeepAlivesEnabled(false)
	return serveHTTP(ctx, netutil.LimitListener(ln, maxPublic), srv)
}
