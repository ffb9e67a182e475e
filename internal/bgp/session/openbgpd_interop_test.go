package session

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bothways/internal/kernel/netnstest"
)

// openbgpd is OpenBGPD on the far side.
type openbgpd struct {
	*world
	p *netnstest.Daemon
}

func startOpenBGPD(t *testing.T, password string) *openbgpd {
	t.Helper()
	o := &openbgpd{world: newWorld(t, "/usr/sbin/bgpd", "openbgpd")}
	// It gives up its privileges into this directory, which Debian's package does not make.
	if out, err := exec.Command("getent", "passwd", "_openbgpd").CombinedOutput(); err != nil {
		t.Logf("user _openbgpd: %v %s", err, out)
	} else if f := strings.Split(strings.TrimSpace(string(out)), ":"); len(f) > 5 {
		os.MkdirAll(f[5], 0o755)
	}
	options := ""
	if password != "" {
		options = "\ttcp md5sig password " + password + "\n"
	}
	conf := o.file("bgpd.conf", fmt.Sprintf(`
AS %d
router-id 198.51.100.1
fib-update no
socket "%s"
listen on %s
listen on %s
network 10.1.0.0/16 set { community 64601:7 large-community 64601:8:9 metric 5 }
network 10.2.0.0/24
network 2001:db8:1::/48 set { community 64601:7 }
neighbor %s {
	remote-as %d
	announce IPv6 none
%s}
neighbor %s {
	remote-as %d
	announce IPv4 none
	announce IPv6 unicast
%s}
allow from any
allow to any
`, theirAS, o.socket(), their4, their6, our4, uint32(ourAS), options, our6, uint32(ourAS), options))
	o.p = o.daemon("/usr/sbin/bgpd", "-d", "-v", "-f", conf)
	return o
}

func (o *openbgpd) socket() string { return filepath.Join(o.dir, "bgpd.sock") }

func (o *openbgpd) saysRoute(prefix string, want ...string) {
	o.t.Helper()
	o.says(want, "bgpctl", "-s", o.socket(), "show", "rib", "detail", prefix)
}

func TestOpenBGPDRoutes(t *testing.T) {
	o := startOpenBGPD(t, "")
	four, six := o.start(our4Config()), o.start(our6Config())
	four.SetAnnouncements(ourRoutes())
	six.SetAnnouncements(ourRoutes())
	four.up(t)
	six.up(t)
	o.saysRoute("198.51.100.0/24", onePath+"\n", "Nexthop "+our4, "Origin IGP")
	o.saysRoute("203.0.113.0/24", threePath+"\n", "Communities: 64601:70", "Large Communities: 64601:1:2")
	o.saysRoute("2001:db8:a::/48", onePath+"\n", "Nexthop "+our6)
	o.saysRoute("2001:db8:b::/48", threePath+"\n", "64601:70")
	four.hears(t, "+10.1.0.0/16 path [64601] via 192.0.2.2 med 5 communities [64601:7] large [64601:8:9]", "+10.2.0.0/24", "end-of-rib(ipv4)")
	six.hears(t, "+2001:db8:1::/48 path [64601] via 2001:db8::2 med 0 communities [64601:7]", "end-of-rib(ipv6)")
	four.Shutdown("moving to the new rack")
	o.says([]string{"moving to the new rack"}, "bgpctl", "-s", o.socket(), "show", "neighbor", our4)
}

func TestOpenBGPDPassword(t *testing.T) {
	o := startOpenBGPD(t, "secret")
	c4, c6 := our4Config(), our6Config()
	c4.Password, c6.Password = []byte("secret"), []byte("secret")
	four, six := o.start(c4), o.start(c6)
	four.up(t)
	six.up(t)
}
