package router

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"bothways/bench/site"
)

// GoBGP is the library's server in a process of its own: this program, started again. It has no way into the kernel.
type GoBGP struct {
	process
	in  io.WriteCloser
	out *bufio.Reader
}

// GoBGPCommand is the argument by which the program becomes a GoBGP router.
const GoBGPCommand = "gobgp-router"

// Name implements Router.
func (*GoBGP) Name() string { return "GoBGP" }

// Missing implements Router.
func (*GoBGP) Missing() string { return "" }

// Version implements Router.
func (*GoBGP) Version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/osrg/gobgp/v4" {
				return "GoBGP " + d.Version
			}
		}
	}
	return "GoBGP"
}

type goBGPPeer struct {
	Router, Address string
	AS              uint32
}

// Start implements Router.
func (g *GoBGP) Start(ctx context.Context, s Setup) error {
	if s.Kernel {
		return fmt.Errorf("gobgp: no way into the kernel")
	}
	if err := g.begin("gobgp"); err != nil {
		return err
	}
	var peers []goBGPPeer
	for _, p := range s.Site.Peers {
		peers = append(peers, goBGPPeer{p.Router.String(), p.Address.String(), p.AS})
	}
	conf, err := json.Marshal(peers)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, GoBGPCommand, string(conf))
	if g.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(g.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	g.out = bufio.NewReader(out)
	if err := g.start(s.Site, cmd); err != nil {
		return err
	}
	return g.await(ctx, func() error {
		_, err := g.Has(ctx, netip.MustParsePrefix("192.0.2.0/24"))
		return err
	})
}

// Has implements Router.
func (g *GoBGP) Has(_ context.Context, p netip.Prefix) (netip.Addr, error) {
	if _, err := fmt.Fprintln(g.in, p); err != nil {
		return netip.Addr{}, err
	}
	line, err := g.out.ReadString('\n')
	if err != nil {
		return netip.Addr{}, err
	}
	if line = strings.TrimSpace(line); line == "-" {
		return netip.Addr{}, nil
	}
	return netip.ParseAddr(line)
}

// Stop implements Router.
func (g *GoBGP) Stop() {
	if g.in != nil {
		g.in.Close()
	}
	g.process.Stop()
}

// RunGoBGP is the process: it reads prefixes and answers with the neighbor whose route is used, or a dash.
func RunGoBGP(ctx context.Context, conf string, in io.Reader, out io.Writer) error {
	var peers []goBGPPeer
	if err := json.Unmarshal([]byte(conf), &peers); err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	s := server.NewBgpServer(server.LoggerOption(quiet, new(slog.LevelVar)))
	go s.Serve()
	listen := []string{}
	for _, p := range peers {
		listen = append(listen, p.Router)
	}
	if err := s.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: site.RouterAS, RouterId: site.RouterInside.String(), ListenPort: 179, ListenAddresses: listen,
	}}); err != nil {
		return err
	}
	// Like the others it announces nothing on.
	if err := s.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
		Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_EXPORT, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
	}}); err != nil {
		return err
	}
	for _, p := range peers {
		if err := s.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
			Conf:      &api.PeerConf{NeighborAddress: p.Address, PeerAsn: p.AS},
			Transport: &api.Transport{LocalAddress: p.Router, PassiveMode: true},
			Timers:    &api.Timers{Config: &api.TimersConfig{HoldTime: 240, KeepaliveInterval: 80}},
		}}); err != nil {
			return err
		}
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		answer := "-"
		err := s.ListPath(apiutil.ListPathRequest{
			TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: bgp.RF_IPv4_UC,
			Prefixes: []*apiutil.LookupPrefix{{Prefix: lines.Text()}},
		}, func(_ bgp.NLRI, paths []*apiutil.Path) {
			for _, p := range paths {
				if p.Best {
					answer = p.PeerAddress.String()
				}
			}
		})
		if err != nil {
			answer = "-"
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}
