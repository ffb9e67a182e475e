package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bothways/internal/lab"
)

// TestPublishedHost is reached from a host of the cloud by the circuit, and its answers go back the way that the request
// came, though new connections of its own would go another: the circuit's prefixes do not cover the asker.
func TestPublishedHost(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edgeWith(t, w, func(c string) string {
		c = strings.Replace(c, "  isp-a:\n", "  isp-a:\n    publish: {203.0.113.70: 10.20.1.10, \"203.0.113.71:2525/tcp\": {to: \"10.20.1.10:25\", source-nat: true}}\n", 1)
		return strings.Replace(c, "  expressroute:\n", "  expressroute:\n    publish: {198.51.100.70: 10.20.1.10}\n", 1)
	})
	settled(t, w)
	ctx := within(t)
	for _, port := range []int{80, 25} {
		serveLines(t, w, "client", fmt.Sprintf("10.20.1.10:%d", port))
	}
	storage := address(t, w, "storage", false)
	registry := address(t, w, "registry", false)
	for _, row := range []struct {
		name, from string
		source     netip.Addr
		to, sees   string
	}{
		{"by the circuit, whole host", lab.Cloud, storage, "198.51.100.70:80", storage.String()},
		{"by ISP A, whole host", lab.Internet, registry, "203.0.113.70:80", registry.String()},
		{"by ISP A, asked for by a cloud host that the site reaches by the circuit", lab.Cloud, storage, "203.0.113.70:80", storage.String()},
		{"by ISP A, one port with the edge's source", lab.Internet, registry, "203.0.113.71:2525", "10.20.0.1"},
	} {
		eventually(t, func(ctx context.Context) error {
			got, err := askFrom(ctx, w, row.from, row.source, row.to)
			if err != nil || got != row.sees {
				return fmt.Errorf("%s: the host sees %q, want %s: %w", row.name, got, row.sees, err)
			}
			return nil
		})
	}
	// What the host opens itself has its own address of the path.
	if a, err := w.Ask(ctx, "client", storage); err != nil || a.SeenAs.String() != "198.51.100.70" {
		t.Errorf("the published host is seen as %s (%v)", a.SeenAs, err)
	}
	if a, err := w.Ask(ctx, "backup", storage); err != nil || a.SeenAs.String() == "198.51.100.70" {
		t.Errorf("another host is seen as %s (%v)", a.SeenAs, err)
	}
}

// askFrom connects from an address in a namespace and reads one line, without its port.
func askFrom(ctx context.Context, w *lab.World, space string, source netip.Addr, to string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var c net.Conn
	err := w.Exec(space, func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: source.AsSlice()}}
		d.SetMultipathTCP(false)
		c, err = d.DialContext(ctx, "tcp4", to)
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(strings.TrimSpace(line))
	return host, err
}
