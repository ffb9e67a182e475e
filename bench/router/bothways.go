package router

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bothways/bench/site"
	"bothways/internal/api"
	v1 "bothways/internal/api/v1"
)

// Bothways is this project's daemon, from Program.
type Bothways struct {
	Program string
	// Env is added to its environment.
	Env []string
	process
	setup  Setup
	conf   string
	client *api.Client
}

// Name implements Router.
func (*Bothways) Name() string { return "Bothways" }

// Missing implements Router.
func (b *Bothways) Missing() string {
	if !executable(b.Program) {
		return b.Program + " is not built"
	}
	return ""
}

// Version implements Router.
func (b *Bothways) Version() string {
	out, _ := exec.Command(b.Program, "version").CombinedOutput()
	return strings.Join(strings.Fields(string(out)), " ")
}

// Start implements Router.
func (b *Bothways) Start(ctx context.Context, s Setup) error {
	if err := b.begin("bothways"); err != nil {
		return err
	}
	b.setup = s
	socket := filepath.Join(b.dir, "api.sock")
	var err error
	if b.conf, err = b.file("site.yaml", bothwaysConfig(s, socket)); err != nil {
		return err
	}
	b.client = api.NewClient(socket)
	return b.Again(ctx)
}

// Again starts the daemon once more after Crash, with the same configuration.
func (b *Bothways) Again(ctx context.Context) error {
	cmd := []string{b.Program, "run", "-c", b.conf}
	if len(b.Env) > 0 {
		cmd = append(append([]string{"/usr/bin/env"}, b.Env...), cmd...)
	}
	if err := b.run(b.setup.Site, cmd...); err != nil {
		return err
	}
	return b.await(ctx, func() error {
		_, err := b.Status(ctx)
		return err
	})
}

// Crash kills the daemon (-9) and leaves its files.
func (b *Bothways) Crash() {
	n := len(b.cmds) - 1
	_ = b.cmds[n].Process.Kill()
	<-b.ended[n].done
	b.cmds, b.ended = b.cmds[:n], b.ended[:n]
}

// Restart has the daemon hand over to a new process, and returns when the old one has ended. answered is when the new one
// had everything.
func (b *Bothways) Restart(ctx context.Context) (done v1.Restarted, answered time.Time, err error) {
	if err := b.client.Ask(ctx, "restart", struct{}{}, &done); err != nil {
		return done, answered, err
	}
	answered = time.Now()
	fd, err := unix.PidfdOpen(done.PID, 0)
	if err != nil {
		return done, answered, os.NewSyscallError("pidfd_open", err)
	}
	next, err := os.FindProcess(done.PID)
	if err != nil {
		return done, answered, err
	}
	n := len(b.cmds) - 1
	<-b.ended[n].done
	b.cmds, b.ended = b.cmds[:n], b.ended[:n]
	// It is nobody's child here: how it ends is not known, only that.
	ended := make(chan error, 1)
	go func() {
		defer unix.Close(fd)
		for {
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
				ended <- nil
				return
			}
		}
	}()
	b.watch(&exec.Cmd{Process: next}, ended)
	return done, answered, nil
}

// Status is what the daemon says of itself and the kernel.
func (b *Bothways) Status(ctx context.Context) (v1.Status, error) {
	var st v1.Status
	err := b.client.Get(ctx, "status", nil, &st)
	return st, err
}

func bothwaysConfig(s Setup, socket string) string {
	var c strings.Builder
	line := func(depth int, format string, args ...any) {
		fmt.Fprintf(&c, strings.Repeat("  ", depth)+format+"\n", args...)
	}
	line(0, "site: bench\nasn: %d\nrouter-id: %s\ncompress: %v", site.RouterAS, site.RouterInside, !s.Whole)
	line(0, "inside:")
	line(1, "interfaces: [%s]", site.Inside)
	networks := []netip.Prefix{site.InsideNetwork}
	if s.IPv6 {
		networks = append(networks, site.InsideIPv6)
	}
	line(1, "networks:")
	for _, n := range networks {
		line(2, "- %q", n.String())
	}
	line(0, "paths:")
	for i, p := range s.Site.Peers {
		line(1, "%s:", p.Name)
		if p.Circuit {
			line(2, "provider: azure\n    peering: microsoft\n    accept: [all]")
		} else {
			line(2, "provider: internet")
		}
		line(2, "links:")
		line(3, "main:")
		line(4, "interface: %s", p.Interface)
		if s.IPv6 {
			line(4, "address6: %s/64\n        neighbor6: %q", p.Router6, p.Address6)
		} else {
			line(4, "address: %s/30\n        neighbor: %s", p.Router, p.Address)
		}
		line(4, "asn: %d\n        passive: true", p.AS)
		if s.BFD > 0 {
			line(4, "bfd: {interval: %s, multiplier: 3}", s.BFD)
		}
		if s.NAT {
			line(2, "announce: [%s]", pool(i))
			line(2, "nat: {%q: %q}", site.InsideNetwork.String(), pool(i).String())
		} else {
			line(2, "nat:")
			for _, n := range networks {
				line(3, "%q: none", n.String())
			}
		}
		if s.Probe.IsValid() {
			line(2, "track: {probes: [{icmp: %s}], every: 100ms, timeout: 100ms, down-after: 3, up-after: 1, up-delay: 0s}", s.Probe)
		}
	}
	line(0, "state: %q\napi: {socket: %q}", filepath.Dir(socket), socket)
	return c.String()
}

// pool is what a path translates to.
func pool(path int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(16 * path)}), 28)
}

// Pool is what the path of a site's peer translates to.
func Pool(s *site.Site, p *site.Peer) netip.Prefix {
	for i := range s.Peers {
		if s.Peers[i] == p {
			return pool(i)
		}
	}
	return netip.Prefix{}
}

// Has implements Router.
func (b *Bothways) Has(ctx context.Context, p netip.Prefix) (netip.Addr, error) {
	var out v1.Routes
	if err := b.client.Get(ctx, "routes", url.Values{"prefix": {p.String()}}, &out); err != nil {
		return netip.Addr{}, err
	}
	for _, r := range out.Routes {
		if r.Prefix == p.String() && r.Tier == 1 {
			return netip.ParseAddr(r.NextHop)
		}
	}
	return netip.Addr{}, nil
}
