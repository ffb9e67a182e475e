package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"bothways/bench/site"
)

// OpenBGPD has three processes, and on Linux no way into the kernel.
type OpenBGPD struct {
	process
	control string
}

// Name implements Router.
func (*OpenBGPD) Name() string { return "OpenBGPD" }

// Missing implements Router.
func (*OpenBGPD) Missing() string { return missing("bgpctl") }

const openbgpdProgram = "/usr/sbin/bgpd"

// Version implements Router.
func (*OpenBGPD) Version() string {
	out, _ := exec.Command(openbgpdProgram, "-V").CombinedOutput()
	return strings.TrimSpace(string(out))
}

// Start implements Router.
func (o *OpenBGPD) Start(ctx context.Context, s Setup) error {
	if s.Kernel {
		return errors.New("openbgpd: no kernel table on Linux")
	}
	if err := o.begin("openbgpd"); err != nil {
		return err
	}
	// It gives up its privileges into its user's home, which Debian's package does not make.
	if u, err := user.Lookup("_openbgpd"); err == nil {
		if err := os.MkdirAll(u.HomeDir, 0o755); err != nil {
			return err
		}
	}
	o.control = filepath.Join(o.dir, "ctl")
	var c strings.Builder
	fmt.Fprintf(&c, "AS %d\nrouter-id %s\nfib-update no\nsocket %q\n", site.RouterAS, site.RouterInside, o.control)
	for _, p := range s.Site.Peers {
		fmt.Fprintf(&c, "listen on %s\nneighbor %s {\n\tremote-as %d\n\tpassive\n}\n", p.Router, p.Address, p.AS)
	}
	c.WriteString("allow from any\n")
	conf, err := o.file("bgpd.conf", c.String())
	if err != nil {
		return err
	}
	if err := os.Chmod(conf, 0o600); err != nil {
		return err
	}
	if err := o.run(s.Site, openbgpdProgram, "-d", "-f", conf); err != nil {
		return err
	}
	return o.await(ctx, func() error {
		return exec.CommandContext(ctx, look("bgpctl"), "-s", o.control, "show", "summary").Run()
	})
}

// Has implements Router.
func (o *OpenBGPD) Has(ctx context.Context, p netip.Prefix) (netip.Addr, error) {
	out, err := exec.CommandContext(ctx, look("bgpctl"), "-s", o.control, "show", "rib", "best", p.String()).Output()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("bgpctl: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		// flags vs destination gateway …; without a route of that length it answers nothing.
		if f := strings.Fields(line); len(f) > 3 && strings.HasPrefix(line, "*>") || len(f) > 3 && strings.Contains(f[0], ">") {
			for i, word := range f {
				if word == p.String() && i+1 < len(f) {
					return netip.ParseAddr(f[i+1])
				}
			}
		}
	}
	return netip.Addr{}, nil
}
