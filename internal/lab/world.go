package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"bothways/internal/lab/farside"
	"bothways/internal/lab/netns"
	"bothways/internal/lab/world"
)

// World is a world that stands.
type World struct {
	// Dir holds its files: sockets, the edge's configuration and log. It vanishes with the world.
	Dir         string
	Description *world.World

	log      *slog.Logger
	spaces   map[string]*netns.Namespace
	cloud    *farside.Services
	internet *farside.Services
	routers  map[string]*farside.Router
	control  *control
	reaper   *reaper

	closing  sync.Once
	changing sync.Mutex // one thing fails or heals at a time: each is several steps
	mu       sync.Mutex // guards failures and what the edge announced: routers and callers change both
	failures map[string]Failure
	learned  map[string]map[netip.Prefix]bool

	edgeMu sync.Mutex // guards edge: one is started, killed or asked for at a time
	edge   *edgeProcess
}

// Names of the namespaces that every world has. Others are named after their host or router.
const (
	Edge     = "edge"
	Cloud    = "cloud"
	Internet = "internet"
	lan      = "lan"
)

// Start raises a world. log may be nil.
func Start(ctx context.Context, description *world.World, log *slog.Logger) (*World, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := description.Check(); err != nil {
		return nil, err
	}
	w := &World{
		Description: description, log: log, spaces: map[string]*netns.Namespace{}, routers: map[string]*farside.Router{},
		failures: map[string]Failure{}, learned: map[string]map[netip.Prefix]bool{},
	}
	if err := w.raise(ctx); err != nil {
		w.Close()
		return nil, fmt.Errorf("world %s: %w", description.Name, err)
	}
	return w, nil
}

func (w *World) raise(ctx context.Context) error {
	var err error
	if w.Dir, err = os.MkdirTemp("", dirPrefix); err != nil {
		return err
	}
	if w.reaper, err = newReaper(w.Dir); err != nil {
		return err
	}
	for _, step := range []func() error{w.makeSpaces, w.wireInside, w.wireRouters, w.addHosts, w.filters, w.serve} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := w.startRouters(ctx); err != nil {
		return err
	}
	w.control, err = listenControl(w, filepath.Join(w.Dir, controlName))
	return err
}

// Close ends everything in the world and the world. It may be called again.
func (w *World) Close() { w.closing.Do(w.close) }

func (w *World) close() {
	if w.control != nil {
		w.control.close()
	}
	w.closeEdge()
	var routers sync.WaitGroup
	for _, r := range w.routers {
		routers.Go(r.Close)
	}
	routers.Wait()
	for _, s := range []*farside.Services{w.cloud, w.internet} {
		if s != nil {
			s.Close()
		}
	}
	for _, n := range w.spaces {
		n.Close()
	}
	if w.reaper != nil {
		w.reaper.close()
	}
}

// Exec runs f on a thread in the namespace of a host, a router, or one of those that every world has. Sockets that f
// makes are there; goroutines that it starts are not.
func (w *World) Exec(name string, f func() error) error {
	n, err := w.space(name)
	if err != nil {
		return err
	}
	return n.Do(f)
}

func (w *World) space(name string) (*netns.Namespace, error) {
	if r := w.Description.Router(name); r != nil {
		name = r.Name
	}
	if n := w.spaces[name]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("no namespace %q in this world", name)
}

func (w *World) makeSpaces() error {
	d := w.Description
	names := []string{Edge, lan, Cloud, Internet}
	for _, h := range d.Site.Hosts {
		names = append(names, h.Name)
	}
	for _, r := range d.Routers {
		names = append(names, r.Name)
	}
	for _, name := range names {
		n, err := netns.New(name)
		if err != nil {
			return err
		}
		w.spaces[name] = n
		// Nobody else is on these wires: there is no duplicate to detect, and waiting for one costs a second and a half.
		settings := [][2]string{
			{"ipv6/conf/all/accept_dad", "0"}, {"ipv6/conf/default/accept_dad", "0"}, {"ipv6/conf/all/keep_addr_on_down", "1"},
			{"ipv6/conf/default/keep_addr_on_down", "1"},
		}
		if name != Edge {
			settings = append(settings, [][2]string{
				{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"}, {"ipv6/conf/default/accept_ra", "0"},
				{"ipv4/fib_multipath_hash_policy", "1"}, {"ipv6/fib_multipath_hash_policy", "1"}, {"ipv4/tcp_fwmark_accept", "1"},
				{"ipv4/icmp_ratelimit", "0"}, {"ipv6/icmp/ratelimit", "0"},
			}...)
		}
		if d.Router(name) != nil {
			settings = append(settings, [2]string{"ipv4/ip_forward", "1"}, [2]string{"ipv6/conf/all/forwarding", "1"})
		}
		for _, s := range settings {
			if err := n.Sysctl(s[0], s[1]); err != nil {
				return fmt.Errorf("namespace %s: %w", name, err)
			}
		}
	}
	return nil
}

// startRouters starts those that speak BGP, all at once: a full table takes its time.
func (w *World) startRouters(ctx context.Context) error {
	var tasks sync.WaitGroup
	var mu sync.Mutex // guards routers and problems while they start
	var problems []error
	for _, r := range w.Description.Routers {
		if r.ASN == 0 {
			continue
		}
		tasks.Go(func() {
			started, err := farside.StartRouter(w.routerConfig(r), w.spaces[r.Name].Start, func(e farside.RouteEvent) { w.routed(r, e) })
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems = append(problems, err)
				return
			}
			w.routers[r.Name] = started
		})
	}
	tasks.Wait()
	return errors.Join(append(problems, ctx.Err())...)
}

func (w *World) routerConfig(r world.Router) farside.RouterConfig {
	c := farside.RouterConfig{Name: r.Name, ASN: r.ASN, Interface: siteInterface, Feeds: r.Feeds, Prefixes: r.Prefixes}
	for _, v6 := range []bool{false, true} {
		own := r.Address(v6)
		if !own.IsValid() {
			continue
		}
		c.Peers = append(c.Peers, farside.Peer{
			Address: r.SiteAddress(v6).Addr(), Local: own.Addr(), ASN: w.Description.Site.ASN, Hold: r.Hold, Password: r.Password,
			TTLSecurity: r.TTLSecurity, Passive: r.Passive, GracefulRestart: r.GracefulRestart, RestartTime: r.RestartTime,
		})
		if r.Default && v6 {
			c.Prefixes = append(c.Prefixes, netip.MustParsePrefix("::/0"))
		} else if r.Default {
			c.Prefixes = append(c.Prefixes, netip.MustParsePrefix("0.0.0.0/0"))
		}
	}
	c.RouterID = r.Address(false).Addr()
	if !c.RouterID.IsValid() {
		c.RouterID = netip.MustParseAddr("10.255.255.1")
	}
	return c
}
