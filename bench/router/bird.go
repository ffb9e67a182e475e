package router

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"bothways/bench/site"
)

// Bird is BIRD 2, which has one thread for everything but BFD.
type Bird struct {
	process
	control net.Conn
	lines   *bufio.Reader
}

// Name implements Router.
func (*Bird) Name() string { return "BIRD" }

// Missing implements Router.
func (*Bird) Missing() string { return missing("bird") }

// Version implements Router.
func (*Bird) Version() string {
	out, _ := exec.Command(look("bird"), "--version").CombinedOutput()
	return strings.TrimSpace(string(out))
}

// Start implements Router.
func (b *Bird) Start(ctx context.Context, s Setup) error {
	if err := b.begin("bird"); err != nil {
		return err
	}
	conf, err := b.file("bird.conf", birdConfig(s))
	if err != nil {
		return err
	}
	socket := filepath.Join(b.dir, "ctl")
	if err := b.run(s.Site, look("bird"), "-f", "-c", conf, "-s", socket); err != nil {
		return err
	}
	return b.await(ctx, func() error {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		b.control, b.lines = c, bufio.NewReader(c)
		_, err = b.answer()
		return err
	})
}

func birdConfig(s Setup) string {
	var c strings.Builder
	channel := "ipv4"
	if s.IPv6 {
		channel = "ipv6"
	}
	fmt.Fprintf(&c, "router id %s;\nprotocol device {}\n", site.RouterInside)
	if s.Kernel {
		fmt.Fprintf(&c, "protocol kernel { %s { import none; export where source = RTS_BGP; }; }\n", channel)
	}
	if s.BFD > 0 {
		fmt.Fprintf(&c, "protocol bfd { interface \"up*\" { interval %d ms; multiplier 3; }; }\n", s.BFD.Milliseconds())
	}
	for _, p := range s.Site.Peers {
		local, remote := p.Router, p.Address
		if s.IPv6 {
			local, remote = p.Router6, p.Address6
		}
		preference, bfd := "import all", ""
		if p.Circuit {
			preference = "import filter { bgp_local_pref = 150; accept; }"
		}
		if s.BFD > 0 {
			bfd = "bfd on; "
		}
		fmt.Fprintf(&c, "protocol bgp %s { local %s as %d; neighbor %s as %d; passive on; %s%s { %s; export none; }; }\n",
			p.Name, local, site.RouterAS, remote, p.AS, bfd, channel, preference)
	}
	return c.String()
}

// Has implements Router.
func (b *Bird) Has(_ context.Context, p netip.Prefix) (netip.Addr, error) {
	if _, err := fmt.Fprintf(b.control, "show route %s primary\n", p); err != nil {
		return netip.Addr{}, err
	}
	text, err := b.answer()
	if err != nil {
		return netip.Addr{}, err
	}
	_, rest, ok := strings.Cut(text, "via ")
	if !ok {
		return netip.Addr{}, nil
	}
	return netip.ParseAddr(strings.Fields(rest)[0])
}

// answer reads one reply of the control protocol: it ends with a line whose number is followed by a space.
func (b *Bird) answer() (string, error) {
	if err := b.control.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	var all strings.Builder
	for {
		line, err := b.lines.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("bird: %w", err)
		}
		all.WriteString(line)
		if len(line) > 4 && line[4] == ' ' && line[0] >= '0' && line[0] <= '9' {
			return all.String(), nil
		}
	}
}

// Stop implements Router.
func (b *Bird) Stop() {
	if b.control != nil {
		b.control.Close()
	}
	b.process.Stop()
}
