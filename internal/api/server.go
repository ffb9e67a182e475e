package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/engine"
	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/reconcile"
	"bothways/internal/route"
)

// Deps are what is shown.
type Deps struct {
	Engine   *engine.Engine
	Kernel   func() reconcile.Status
	Sessions func() []v1.Session
	Counters func(context.Context) (map[string]kstate.Counter, error)
	// Addresses reads a set of the table, Flows the connections of a mark.
	Addresses func(ctx context.Context, set string) ([]netip.Addr, error)
	Flows     func(ctx context.Context, f route.Family, value, mask uint32) ([]flow.Flow, error)
	Reload    func(context.Context) error
	Restart   func(context.Context) (v1.Restarted, error)
	Stop      func(v1.Stop)
	Metrics   http.Handler // nil: none
	Version   v1.Version
	Log       *slog.Logger
}

// Serve answers on a socket until the context ends, and then what was asked before, for a second at most.
func Serve(ctx context.Context, ln net.Listener, d Deps) error {
	return serveHTTP(ctx, ln, &http.Server{Handler: handler(d)})
}

// serveHTTP is Serve with a server that is set up.
func serveHTTP(ctx context.Context, ln net.Listener, srv *http.Server) error {
	srv.ReadHeaderTimeout, srv.MaxHeaderBytes = 5*time.Second, 1<<14
	answered := make(chan struct{})
	stopped := context.AfterFunc(ctx, func() {
		defer close(answered)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = srv.Shutdown(stop)
	})
	err := srv.Serve(ln)
	if !stopped() {
		<-answered // Serve returns as soon as nobody new is taken
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

func handler(d Deps) http.Handler {
	s := server{d}
	mux := http.NewServeMux()
	get := func(path string, answer func(*http.Request) (any, error)) {
		mux.HandleFunc("GET /v1/"+path, func(w http.ResponseWriter, r *http.Request) { s.write(w, answer, r) })
	}
	get("version", func(*http.Request) (any, error) { return d.Version, nil })
	get("status", s.status)
	get("paths", s.paths)
	get("links", s.links)
	get("sessions", s.sessions)
	get("routes", s.routes)
	get("rankings", s.rankings)
	get("nat", s.nat)
	get("events", s.events)
	get("asymmetry", s.asymmetry)
	get("tracks", s.tracks)
	get("proofs", s.proofs)
	get("symmetry", s.symmetry)
	if d.Metrics != nil {
		mux.Handle("GET "+metricsPath, d.Metrics)
	}
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, func(r *http.Request) (any, error) { return struct{}{}, d.Reload(r.Context()) }, r)
	})
	mux.HandleFunc("POST /v1/restart", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, func(r *http.Request) (any, error) { return d.Restart(r.Context()) }, r)
	})
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, func(r *http.Request) (any, error) {
			var drain v1.Drain
			if err := read(r, &drain); err != nil {
				return nil, err
			}
			return struct{}{}, s.Engine.Drain(r.Context(), drain.Link, drain.On, drain.Move)
		}, r)
	})
	mux.HandleFunc("POST /v1/stop", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, func(r *http.Request) (any, error) {
			var stop v1.Stop
			if err := read(r, &stop); err != nil {
				return nil, err
			}
			d.Stop(stop)
			return struct{}{}, nil
		}, r)
	})
	return mux
}

// read takes what is asked for; a key that is not known is an error, not something to leave out.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<12))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badRequest{err}
	}
	return nil
}

type server struct{ Deps }

// badRequest is the asker's fault.
type badRequest struct{ error }

func (s server) write(w http.ResponseWriter, answer func(*http.Request) (any, error), r *http.Request) {
	body, err := answer(r)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status := http.StatusInternalServerError
		if errors.As(err, &badRequest{}) {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
		body = v1.Problem{Error: err.Error()}
	}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.Log.Debug("client went away", "error", err)
	}
}

// maxRoutes bounds one answer; a client asks for more with after.
const maxRoutes = 1000

func (s server) routes(r *http.Request) (any, error) {
	q := r.URL.Query()
	filter := engine.RouteFilter{Rejected: q.Get("rejected") == "true", Link: q.Get("link"), Limit: maxRoutes}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxRoutes {
			return nil, badRequest{fmt.Errorf("limit: want 1 to %d, found %q", maxRoutes, text)}
		}
		filter.Limit = n
	}
	for name, to := range map[string]*netip.Prefix{"prefix": &filter.Prefix, "after": &filter.After} {
		if text := q.Get(name); text != "" {
			p, err := ParseDestination(text)
			if err != nil {
				return nil, badRequest{fmt.Errorf("%s: %w", name, err)}
			}
			*to = p
		}
	}
	family := route.IPv4
	switch text := q.Get("family"); text {
	case "", "ipv4":
	case "ipv6":
		family = route.IPv6
	default:
		return nil, badRequest{fmt.Errorf("family: want ipv4 or ipv6, found %q", text)}
	}
	if filter.Prefix.IsValid() {
		family = route.FamilyOf(filter.Prefix.Addr())
	}
	var out v1.Routes
	known := true
	err := s.Engine.Query(r.Context(), func(v *engine.View) {
		if known = filter.Link == "" || v.HasLink(filter.Link); !known {
			return
		}
		found, more := v.Routes(family, filter)
		out.More, out.Routes = more, make([]v1.Route, 0, len(found))
		for _, f := range found {
			out.Routes = append(out.Routes, viewRoute(f))
		}
		if filter.Prefix.IsValid() {
			a := viewAnswer(v.Answer(filter.Prefix))
			out.Answer = &a
		}
	})
	if err == nil && !known {
		err = badRequest{fmt.Errorf("no link %s", filter.Link)}
	}
	return out, err
}

// ParseDestination reads a prefix, or an address as the prefix of only itself.
func ParseDestination(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("want a prefix or an address, found %q", s)
	}
	return p.Masked(), nil
}
