package router

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"bothways/bench/site"
)

// FRR is bgpd, with zebra where the kernel takes part, and bfdd.
type FRR struct {
	process
	control net.Conn
	lines   *bufio.Reader
	family  string
}

// Name implements Router.
func (*FRR) Name() string { return "FRR" }

// Missing implements Router.
func (*FRR) Missing() string {
	if !executable(frrProgram("bgpd")) || !executable(frrProgram("zebra")) {
		return "it is not installed in /usr/lib/frr"
	}
	return ""
}

func frrProgram(name string) string { return filepath.Join("/usr/lib/frr", name) }

// Version implements Router.
func (*FRR) Version() string {
	out, _ := exec.Command(frrProgram("bgpd"), "--version").CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return "FRR " + line
}

// Start implements Router.
func (f *FRR) Start(ctx context.Context, s Setup) error {
	if err := f.begin("frr"); err != nil {
		return err
	}
	f.family = "ipv4"
	if s.IPv6 {
		f.family = "ipv6"
	}
	conf, err := f.file("frr.conf", frrConfig(s))
	if err != nil {
		return err
	}
	common := func(name string) []string {
		return []string{frrProgram(name), "-f", conf, "-i", filepath.Join(f.dir, name+".pid"), "--vty_socket", f.dir, "-P", "0", "-z", filepath.Join(f.dir, "zserv")}
	}
	if s.Kernel || s.BFD > 0 {
		if err := f.run(s.Site, common("zebra")...); err != nil {
			return err
		}
		if err := f.await(ctx, func() error { return exists(filepath.Join(f.dir, "zserv")) }); err != nil {
			return fmt.Errorf("zebra: %w", err)
		}
		if s.BFD > 0 {
			if err := f.run(s.Site, append(common("bfdd"), "--bfdctl", filepath.Join(f.dir, "bfdd.sock"))...); err != nil {
				return err
			}
		}
		err = f.run(s.Site, append(common("bgpd"), "-S")...)
	} else {
		err = f.run(s.Site, append(common("bgpd"), "-S", "-Z", "-n")...)
	}
	if err != nil {
		return err
	}
	return f.await(ctx, func() error {
		c, err := net.Dial("unix", filepath.Join(f.dir, "bgpd.vty"))
		if err != nil {
			return err
		}
		f.control, f.lines = c, bufio.NewReader(c)
		_, err = f.ask("show version")
		return err
	})
}

func exists(path string) error {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return err
}

func frrConfig(s Setup) string {
	var c strings.Builder
	fmt.Fprintf(&c, "router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp network import-check\n no bgp default ipv4-unicast\n bgp bestpath compare-routerid\n no bgp suppress-duplicates\n",
		site.RouterAS, site.RouterInside)
	addresses := map[*site.Peer]netip.Addr{}
	for _, p := range s.Site.Peers {
		remote := p.Address
		if s.IPv6 {
			remote = p.Address6
		}
		addresses[p] = remote
		fmt.Fprintf(&c, " neighbor %s remote-as %d\n neighbor %s passive\n neighbor %s timers connect 1\n", remote, p.AS, remote, remote)
		if s.BFD > 0 {
			fmt.Fprintf(&c, " neighbor %s bfd 3 %d %d\n", remote, s.BFD.Milliseconds(), s.BFD.Milliseconds())
		}
	}
	family := "ipv4"
	if s.IPv6 {
		family = "ipv6"
	}
	fmt.Fprintf(&c, " address-family %s unicast\n", family)
	for _, p := range s.Site.Peers {
		fmt.Fprintf(&c, "  neighbor %s activate\n  neighbor %s route-map none out\n", addresses[p], addresses[p])
		if p.Circuit {
			fmt.Fprintf(&c, "  neighbor %s weight 100\n", addresses[p])
		}
	}
	c.WriteString(" exit-address-family\n!\nroute-map none deny 10\n!\n")
	return c.String()
}

// Has implements Router.
func (f *FRR) Has(_ context.Context, p netip.Prefix) (netip.Addr, error) {
	text, err := f.ask(fmt.Sprintf("show bgp %s unicast %s json", f.family, p))
	if err != nil {
		return netip.Addr{}, err
	}
	var v struct {
		Prefix string
		Paths  []struct {
			BestPath struct{ Overall bool }
			Peer     struct{ PeerID string }
		}
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil || v.Prefix != p.String() {
		return netip.Addr{}, nil // it says in words that it has none
	}
	for _, path := range v.Paths {
		if path.BestPath.Overall {
			return netip.ParseAddr(path.Peer.PeerID)
		}
	}
	return netip.Addr{}, nil
}

// ask speaks as vtysh does: a command with a zero behind; the answer ends with three zeros and a status.
func (f *FRR) ask(command string) (string, error) {
	if err := f.control.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	if _, err := f.control.Write(append([]byte(command), 0)); err != nil {
		return "", err
	}
	var out []byte
	for {
		b, err := f.lines.ReadByte()
		if err != nil {
			return "", fmt.Errorf("bgpd: %w", err)
		}
		if out = append(out, b); len(out) >= 4 && string(out[len(out)-4:len(out)-1]) == "\x00\x00\x00" {
			if status := out[len(out)-1]; status != 0 {
				return "", errors.New("bgpd: " + command + ": status " + fmt.Sprint(status))
			}
			return string(out[:len(out)-4]), nil
		}
	}
}

// Stop implements Router.
func (f *FRR) Stop() {
	if f.control != nil {
		f.control.Close()
	}
	f.process.Stop()
}
