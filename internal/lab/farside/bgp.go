package farside

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/lab/feed"
)

// sender writes messages from several goroutines.
type sender struct {
	mu  sync.Mutex // one message at a time on the wire
	enc *json.Encoder
}

// send gives up silently when the parent is gone: the process ends then anyway.
func (s *sender) send(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.enc.Encode(m)
}

// router is GoBGP's server in this process's namespace, with its routes put into the kernel.
type router struct {
	config RouterConfig
	bgp    *server.BgpServer
	report func(RouteEvent)
	log    *slog.Logger
	// prepend is how many times its AS stands in front beyond the one that every announcement carries.
	prepend int
	leaving bool // by a graceful shutdown
}

func startRouter(ctx context.Context, c RouterConfig, report func(RouteEvent), log *slog.Logger) (*router, error) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	r := &router{config: c, report: report, log: log, bgp: server.NewBgpServer(server.LoggerOption(quiet, new(slog.LevelVar)))}
	go r.bgp.Serve()
	listen := []string{}
	for _, p := range c.Peers {
		listen = append(listen, p.Local.String())
	}
	err := r.bgp.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: c.ASN, RouterId: c.RouterID.String(), ListenPort: 179, ListenAddresses: listen,
	}})
	if err != nil {
		return nil, fmt.Errorf("router %s: %w", c.Name, err)
	}
	err = r.bgp.WatchEvent(ctx, server.WatchEventMessageCallbacks{
		OnBestPath: func(paths []*apiutil.Path, _ time.Time) {
			for _, p := range paths {
				r.learned(p)
			}
		},
	}, server.WatchBestPath(true))
	if err != nil {
		return nil, fmt.Errorf("router %s: watch: %w", c.Name, err)
	}
	if err := r.announce(); err != nil {
		return nil, fmt.Errorf("router %s: %w", c.Name, err)
	}
	if c.Deaf { // after what is announced, which the policy would refuse too
		err := r.bgp.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_IMPORT, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
		}})
		if err != nil {
			return nil, fmt.Errorf("router %s: policy: %w", c.Name, err)
		}
	}
	return r, r.addPeers(ctx)
}

func (r *router) stop() { r.bgp.Stop() }

func (r *router) do(ctx context.Context, q request) ([]Session, error) {
	switch q.Verb {
	case Drop:
		return nil, r.dropPeers(ctx)
	case Add:
		return nil, r.addPeers(ctx)
	case Announce:
		var paths []*apiutil.Path
		for _, p := range q.Prefixes {
			paths = append(paths, path(feed.Route{Prefix: p}))
		}
		_, err := r.bgp.AddPath(apiutil.AddPathRequest{Paths: paths})
		return nil, err
	case Withdraw:
		var paths []*apiutil.Path
		for _, p := range q.Prefixes {
			paths = append(paths, path(feed.Route{Prefix: p}))
		}
		return nil, r.bgp.DeletePath(apiutil.DeletePathRequest{Paths: paths})
	case Prepend:
		r.prepend = q.Count
		return nil, r.announce()
	case Leave:
		r.leaving = q.Count != 0
		return nil, r.announce()
	case Sessions:
		return r.sessions(ctx)
	}
	return nil, fmt.Errorf("router %s: unknown verb %q", r.config.Name, q.Verb)
}

func (r *router) announce() error {
	var paths []*apiutil.Path
	for _, p := range r.config.Prefixes {
		paths = append(paths, path(feed.Route{Prefix: p}))
	}
	for _, name := range r.config.Feeds {
		routes, err := feed.Load(name, r.config.ASN)
		if err != nil {
			return err
		}
		for _, route := range routes {
			paths = append(paths, path(route))
		}
	}
	for _, p := range paths {
		for _, a := range p.Attrs {
			if as, ok := a.(*bgp.PathAttributeAsPath); ok && r.prepend > 0 {
				own := bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, slices.Repeat([]uint32{r.config.ASN}, r.prepend))
				as.Value = append([]bgp.AsPathParamInterface{own}, as.Value...)
			}
		}
	}
	if r.leaving {
		for _, p := range paths {
			leave(p)
		}
	}
	for len(paths) > 0 {
		n := min(len(paths), 5000)
		if _, err := r.bgp.AddPath(apiutil.AddPathRequest{Paths: paths[:n]}); err != nil {
			return fmt.Errorf("announce: %w", err)
		}
		paths = paths[n:]
	}
	return nil
}

// leave adds the community for a graceful shutdown to those that a path has.
func leave(p *apiutil.Path) {
	const shutdown = uint32(bgp.COMMUNITY_PLANNED_SHUT)
	for _, a := range p.Attrs {
		if c, ok := a.(*bgp.PathAttributeCommunities); ok {
			c.Value = append(c.Value, shutdown)
			return
		}
	}
	p.Attrs = append(p.Attrs, bgp.NewPathAttributeCommunities([]uint32{shutdown}))
}

func path(route feed.Route) *apiutil.Path {
	nlri, err := bgp.NewIPAddrPrefix(route.Prefix)
	if err != nil {
		panic("farside: " + err.Error())
	}
	p := &apiutil.Path{Family: family(route.Prefix.Addr()), Nlri: nlri}
	p.Attrs = append(p.Attrs, bgp.NewPathAttributeOrigin(0))
	var segments []bgp.AsPathParamInterface
	if len(route.Path) > 0 {
		segments = append(segments, bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, route.Path))
	}
	if len(route.Set) > 0 {
		segments = append(segments, bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SET, route.Set))
	}
	p.Attrs = append(p.Attrs, bgp.NewPathAttributeAsPath(segments))
	if len(route.Communities) > 0 {
		p.Attrs = append(p.Attrs, bgp.NewPathAttributeCommunities(route.Communities))
	}
	// An unspecified next hop becomes the router's own address on the way to a neighbor.
	if route.Prefix.Addr().Is4() {
		hop, _ := bgp.NewPathAttributeNextHop(netip.IPv4Unspecified())
		p.Attrs = append(p.Attrs, hop)
	} else {
		reach, _ := bgp.NewPathAttributeMpReachNLRI(p.Family, []bgp.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
		p.Attrs = append(p.Attrs, reach)
	}
	return p
}

func family(a netip.Addr) bgp.Family {
	if a.Is4() {
		return bgp.RF_IPv4_UC
	}
	return bgp.RF_IPv6_UC
}

func (r *router) addPeers(ctx context.Context) error {
	for _, p := range r.config.Peers {
		if err := r.bgp.AddPeer(ctx, &api.AddPeerRequest{Peer: peer(p)}); err != nil {
			return fmt.Errorf("router %s: peer %s: %w", r.config.Name, p.Address, err)
		}
	}
	return nil
}

func (r *router) dropPeers(ctx context.Context) error {
	for _, p := range r.config.Peers {
		if err := r.bgp.DeletePeer(ctx, &api.DeletePeerRequest{Address: p.Address.String()}); err != nil {
			return fmt.Errorf("router %s: peer %s: %w", r.config.Name, p.Address, err)
		}
	}
	return nil
}

func peer(p Peer) *api.Peer {
	f := &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
	if p.Address.Is6() {
		f.Afi = api.Family_AFI_IP6
	}
	out := &api.Peer{
		Conf: &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: p.ASN, AuthPassword: p.Password},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: 2, HoldTime: uint64(p.Hold.Seconds()), KeepaliveInterval: uint64(max(p.Hold.Seconds()/3, 1)),
		}},
		Transport: &api.Transport{LocalAddress: p.Local.String(), PassiveMode: p.Passive},
		AfiSafis: []*api.AfiSafi{{
			Config:            &api.AfiSafiConfig{Family: f, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: p.GracefulRestart}},
		}},
	}
	if p.Hold == 0 {
		out.Timers.Config.HoldTime, out.Timers.Config.KeepaliveInterval = 90, 30
	}
	if p.TTLSecurity {
		out.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if p.GracefulRestart {
		out.GracefulRestart = &api.GracefulRestart{Enabled: true, RestartTime: uint32(p.RestartTime.Seconds()), NotificationEnabled: true}
		if p.RestartTime == 0 {
			out.GracefulRestart.RestartTime = 120
		}
	}
	return out
}

func (r *router) sessions(ctx context.Context) ([]Session, error) {
	var out []Session
	err := r.bgp.ListPeer(ctx, &api.ListPeerRequest{EnableAdvertised: false}, func(p *api.Peer) {
		address, err := netip.ParseAddr(p.GetState().GetNeighborAddress())
		if err != nil {
			return
		}
		s := Session{Peer: address, Established: p.State.SessionState == api.PeerState_SESSION_STATE_ESTABLISHED}
		s.State = p.State.SessionState.String()
		if up := p.GetTimers().GetState().GetUptime(); up != nil {
			s.Since = up.AsTime()
		}
		for _, f := range p.AfiSafis {
			s.Received += f.GetState().GetReceived()
			s.Announced += f.GetState().GetAdvertised()
		}
		out = append(out, s)
	})
	return out, err
}

// learned puts a route of the edge's into the kernel, and tells. Its own routes come by here too.
func (r *router) learned(p *apiutil.Path) {
	nlri, ok := p.Nlri.(*bgp.IPAddrPrefix)
	if !ok || !p.PeerAddress.IsValid() || p.PeerAddress.IsUnspecified() {
		return
	}
	e := RouteEvent{Prefix: nlri.Prefix, Withdrawn: p.Withdrawal}
	if err := r.install(e, p.PeerAddress); err != nil {
		r.log.Error("route not set", "router", r.config.Name, "prefix", e.Prefix, "error", err)
	}
	r.report(e)
}

func (r *router) install(e RouteEvent, via netip.Addr) error {
	link, err := netlink.LinkByName(r.config.Interface)
	if err != nil {
		return err
	}
	dst := &net.IPNet{IP: e.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(e.Prefix.Bits(), e.Prefix.Addr().BitLen())}
	route := &netlink.Route{Dst: dst, Priority: 100, LinkIndex: link.Attrs().Index, Protocol: 186}
	if !e.Withdrawn {
		route.Gw = via.AsSlice()
		return netlink.RouteReplace(route)
	}
	if err := netlink.RouteDel(route); err != nil && err != unix.ESRCH {
		return err
	}
	return nil
}
