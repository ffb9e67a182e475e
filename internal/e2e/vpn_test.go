package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
	"bothways/internal/lab/world"
)

// The VPN's device stands inside the site, behind the edge and its translation. What is behind the provider's gateway is
// one address in the cloud.
const (
	vpnHost   = "vpn"
	vpnInside = "10.20.1.20"
	vpnBehind = "10.99.0.1"
)

// Times of the tunnel: after dpdDelay without a packet the device asks whether the gateway still lives, and gives up after
// dpdTime in all (strongswan.conf: the sum of the retransmissions).
const (
	dpdDelay = time.Second
	dpdTime  = dpdDelay + 5*time.Second
)

func withVPN(d *worldOf) {
	d.Site.Hosts = append(d.Site.Hosts, world.Host{Name: vpnHost, Addresses: []netip.Addr{netip.MustParseAddr(vpnInside), netip.MustParseAddr("fd20::1:20")}})
}

// charon is one end of the tunnel: strongSwan with ESP in user space.
type charon struct {
	w     *lab.World
	space string
	dir   string
}

const strongswanConf = `charon-systemd {
  load = random nonce aes sha1 sha2 hmac kdf gmp kernel-libipsec kernel-netlink socket-default vici
  retransmit_timeout = 0.5
  retransmit_base = 1.2
  retransmit_tries = 5
  plugins {
    vici { socket = unix://%[1]s/vici }
    kernel-libipsec { load = 1 }
  }
  journal { default = -1 }
  filelog { log { path = %[1]s/log
    default = 1
    flush_line = yes } }
}
`

const connectionConf = `connections { vpn { version = 2
  local_addrs = %s
  remote_addrs = %s
  proposals = aes128-sha256-modp2048
  mobike = no
  dpd_delay = %s
  dpd_timeout = 0
  encap = yes
  local { auth = psk
    id = %s }
  remote { auth = psk
    id = %s }
  children { net { local_ts = %s
    remote_ts = %s
    esp_proposals = aes128-sha256
    dpd_action = restart
    start_action = %s } } } }
secrets { ike { secret = "tried in a namespace" } }
`

func startCharon(t *testing.T, w *lab.World, space, connection string) *charon {
	t.Helper()
	c := &charon{w, space, filepath.Join(w.Dir, "charon-"+space)}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"strongswan.conf": fmt.Sprintf(strongswanConf, c.dir), "swanctl.conf": connection} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("charon-systemd")
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+filepath.Join(c.dir, "strongswan.conf"))
	t.Cleanup(func() {
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(c.dir, "log")); err == nil {
				t.Logf("charon in %s:\n%s", space, tail(log, 8000))
			}
		}
	})
	daemonIn(t, w, space, cmd)
	eventually(t, func(ctx context.Context) error {
		_, err := c.swanctl(ctx, "--load-all", "--noprompt", "--file", filepath.Join(c.dir, "swanctl.conf"))
		return err
	})
	return c
}

// swanctl asks the process. Nothing of its configuration on this machine is read.
func (c *charon) swanctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "swanctl", append(args, "--uri", "unix://"+filepath.Join(c.dir, "vici"))...)
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+filepath.Join(c.dir, "strongswan.conf"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("swanctl %v: %w: %s", args, err, tail(out, 400))
	}
	return string(out), nil
}

// ike is the pair of numbers by which the two ends know their association.
func (c *charon) ike(t *testing.T) string {
	t.Helper()
	out, err := c.swanctl(within(t), "--list-sas")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(out, "\n") {
		if _, spis, ok := strings.Cut(line, "ESTABLISHED, IKEv2, "); ok {
			return strings.TrimSpace(spis)
		}
	}
	t.Fatalf("no association in %s: %s", c.space, out)
	return ""
}

// needVPN names what the tunnel is made of.
func needVPN(t *testing.T) {
	t.Helper()
	need(t, "charon-systemd", "charon-systemd")
	need(t, "swanctl", "strongswan-swanctl")
	if _, err := os.Stat("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so"); err != nil {
		needed(t, fmt.Errorf("package libcharon-extra-plugins is not installed: %w", err))
	}
	need(t, "ip", "iproute2")
}

// tunnel starts both ends, and waits until a host inside reaches what is behind the gateway.
func tunnel(t *testing.T, w *lab.World) *charon {
	t.Helper()
	gateway := address(t, w, "vpn-gateway", false).String()
	inRouter(t, w, lab.Cloud, "ip", "addr", "add", vpnBehind+"/32", "dev", "lo")
	inRouter(t, w, "client", "ip", "route", "add", "10.99.0.0/24", "via", vpnInside)
	if err := w.Exec(vpnHost, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
		t.Fatal(err)
	}
	seconds := fmt.Sprintf("%ds", int(dpdDelay.Seconds()))
	startCharon(t, w, lab.Cloud, fmt.Sprintf(connectionConf, gateway, "%any", "0s", "cloud", "site", "10.99.0.0/24", "10.20.0.0/16", "none"))
	site := startCharon(t, w, vpnHost, fmt.Sprintf(connectionConf, vpnInside, gateway, seconds, "site", "cloud", "10.20.0.0/16", "10.99.0.0/24", "start"))
	throughTunnel(t, w)
	return site
}

func throughTunnel(t *testing.T, w *lab.World) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		a, err := w.AskUDP(ctx, "client", netip.MustParseAddr(vpnBehind))
		if err == nil && a.SeenAs != address(t, w, "client", false) {
			err = fmt.Errorf("seen as %s", a.SeenAs)
		}
		return err
	})
}

// pinnedBy waits until the tunnel's packets pass a router, and says that none pass others from then on.
func pinnedBy(t *testing.T, w *lab.World, router string) {
	t.Helper()
	seen := func(r string) uint64 {
		n, err := w.PinnedSeen(r)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := seen(router)
	eventually(t, func(context.Context) error {
		if n := seen(router) - before; n < 50 {
			return fmt.Errorf("%d packets to the gateway passed %s", n, router)
		}
		return nil
	})
	others := map[string]uint64{}
	for _, r := range w.Description.Routers {
		if r.Name != router {
			others[r.Name] = seen(r.Name)
		}
	}
	before = seen(router)
	eventually(t, func(context.Context) error {
		if n := seen(router) - before; n < 100 {
			return fmt.Errorf("%d packets to the gateway passed %s", n, router)
		}
		return nil
	})
	for name, n := range others {
		if k := seen(name) - n; k != 0 {
			t.Errorf("%d packets to the gateway passed %s, all have to pass %s", k, name, router)
		}
	}
}

// TestVPNFollowsThePin has the site-to-site VPN's device inside reach the provider's gateway, whose address the circuit
// announces, through the pin: over ISP A, over ISP B when A dies, over A again when it is back, and never over the circuit.
func TestVPNFollowsThePin(t *testing.T) {
	t.Parallel()
	needVPN(t)
	w := raise(t, withVPN)
	edge(t, w)
	site := tunnel(t, w)
	association := site.ike(t)
	to := netip.MustParseAddr(vpnBehind)
	for _, change := range []struct {
		what   string
		do     func() error
		router string
	}{
		{"ISP A dies", func() error { return w.Fail(within(t), "isp-a/main", false) }, "isp-b"},
		{"ISP A is back", func() error { return w.Heal(within(t), "isp-a/main") }, "isp-a"},
	} {
		s, err := w.Stream(t.Context(), "client", to, 500)
		if err != nil {
			t.Fatal(err)
		}
		waitReturned(t, s, 200)
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		pinnedBy(t, w, change.router)
		waitReturned(t, s, 500)
		l := s.Stop()
		t.Logf("%s: %s", change.what, l)
		if l.Gap > dpdTime {
			t.Errorf("%s: nothing came through the tunnel for %s, its own dead peer detection takes %s", change.what, l.Gap, dpdTime)
		}
		if now := site.ike(t); now != association {
			t.Errorf("%s: the tunnel did not survive: association %s, before %s", change.what, now, association)
		}
	}
	for _, router := range []string{"circuit/primary", "circuit/secondary"} {
		if n, err := w.PinnedSeen(router); err != nil || n != 0 {
			t.Errorf("%s saw %d packets to the gateway (%v)", router, n, err)
		}
	}
}

// found waits for a finding of the running edge, and gives its text.
func found(t *testing.T, w *lab.World, severity, subject string) string {
	t.Helper()
	text := ""
	eventually(t, func(ctx context.Context) error {
		var st v1.Status
		if err := w.Show(ctx, "status", &st); err != nil {
			return err
		}
		for _, f := range st.Findings {
			if f.Severity == severity && f.Subject == subject {
				text = f.Text
				return nil
			}
		}
		return fmt.Errorf("no %s about %s among %+v", severity, subject, st.Findings)
	})
	return text
}

// check runs `bothways check` in the edge's namespace on the file that the edge runs.
func check(w *lab.World) (string, error) {
	return inEdge(w, binary, "check", w.EdgeFile())
}

// TestVPNWithoutAPin has the circuit capture the gateway. It is found, told, and said by check with the rule that helps;
// once the rule is there the tunnel moves to ISP A by itself, and the finding goes.
func TestVPNWithoutAPin(t *testing.T) {
	t.Parallel()
	needVPN(t)
	w := raise(t, withVPN)
	pinned, err := w.EdgeConfig()
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(pinned, "steer:")
	_, rest, _ := strings.Cut(pinned, "api:")
	edgeWith(t, w, func(string) string { return head + "api:" + rest })
	settled(t, w)
	if out, err := check(w); err != nil || strings.Contains(out, "vpn") {
		t.Errorf("no VPN speaks yet, and check says (%v): %s", err, out)
	}
	tunnel(t, w)
	if n, err := w.PinnedSeen("isp-a"); err != nil || n != 0 {
		t.Fatalf("the tunnel is not captured: %d packets to the gateway pass ISP A (%v)", n, err)
	}
	const rule = `{name: vpn, to: [13.70.64.20/32], use: [isp-a, isp-b], otherwise: drop}`
	if text := found(t, w, "warning", "path expressroute"); !strings.Contains(text, rule) {
		t.Errorf("the finding does not say what helps: %s", text)
	}
	told(t, w, "vpn", "expressroute", "13.70.64.20")
	if out, err := check(w); err != nil || !strings.Contains(out, rule) {
		t.Errorf("check does not tell of the captured gateway (%v): %s", err, out)
	}
	if err := w.ReloadEdge(strings.Replace(head+"steer:\n  - "+rule+"\napi:"+rest, "\n\n", "\n", 1)); err != nil {
		t.Fatal(err)
	}
	s, err := w.Stream(t.Context(), "client", netip.MustParseAddr(vpnBehind), 500)
	if err != nil {
		t.Fatal(err)
	}
	pinnedBy(t, w, "isp-a")
	waitReturned(t, s, 200)
	s.Stop()
	eventually(t, func(context.Context) error {
		out, err := check(w)
		if err != nil || strings.Contains(out, "captured") {
			return fmt.Errorf("pinned, and check says (%v): %s", err, out)
		}
		return nil
	})
}

// TestPinIntoItsOwnTunnel has somebody route the gateway's network into the tunnel, as a VPN's own routes do when they cover
// the gateway: the tunnel's packets would go into the tunnel.
func TestPinIntoItsOwnTunnel(t *testing.T) {
	t.Parallel()
	need(t, "ip", "iproute2")
	w := raise(t, nil)
	edge(t, w)
	for _, args := range [][]string{
		{"tuntap", "add", "dev", "ipsec0", "mode", "tun"}, {"link", "set", "ipsec0", "up"}, {"route", "add", "13.70.64.0/24", "dev", "ipsec0"},
	} {
		if _, err := inEdge(w, "ip", args...); err != nil {
			t.Fatal(err)
		}
	}
	text := found(t, w, "error", "steer azure-vpn")
	if !strings.Contains(text, "13.70.64.20") || !strings.Contains(text, "ipsec0") {
		t.Errorf("the finding names neither address nor interface: %s", text)
	}
	told(t, w, "pin", "azure-vpn", "ipsec0")
	if out, err := check(w); err == nil || !strings.Contains(out, "ipsec0") {
		t.Errorf("check does not fail for it (%v): %s", err, out)
	}
	if _, err := inEdge(w, "ip", "route", "del", "13.70.64.0/24"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) error {
		_, err := check(w)
		return err
	})
}
