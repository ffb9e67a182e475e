package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// exabgp is ExaBGP on the far side. What it hears it writes, as text, into a file.
type exabgp struct {
	*world
	heard string
}

func startExaBGP(t *testing.T, password string) *exabgp {
	t.Helper()
	x := &exabgp{world: newWorld(t, "exabgp", "exabgp")}
	x.heard = filepath.Join(x.dir, "heard")
	options := ""
	if password != "" {
		options = "\tmd5-password " + password + ";\n"
	}
	neighbor := func(local, remote, family, static string) string {
		return fmt.Sprintf(`
neighbor %s {
	router-id 198.51.100.1;
	local-address %s;
	local-as %d;
	peer-as %d;
	hold-time 30;
%s	family { %s unicast; }
	api { processes [ heard ]; receive { parsed; update; } }
	static { %s }
}
`, remote, local, theirAS, uint32(ourAS), options, family, static)
	}
	conf := x.file("exabgp.conf", fmt.Sprintf("process heard { run /usr/bin/tee %s; encoder text; }\n", x.heard)+
		neighbor(their4, our4, "ipv4", "route 10.1.0.0/16 next-hop 192.0.2.2 med 5 community [64601:7] large-community [64601:8:9]; route 10.2.0.0/24 next-hop 192.0.2.2;")+
		neighbor(their6, our6, "ipv6", "route 2001:db8:1::/48 next-hop 2001:db8::2 community [64601:7];"))
	x.daemon("env", "exabgp.daemon.user=root", "exabgp.daemon.drop=false", "exabgp.api.cli=false", "exabgp.api.ack=false", "exabgp.tcp.bind=",
		"exabgp.log.destination=stderr", "exabgp.cache.nexthops=false", "exabgp", conf)
	return x
}

func (x *exabgp) hears(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, "exabgp hears "+strings.Join(want, ", "), 90*time.Second, func() (bool, string) {
		b, _ := os.ReadFile(x.heard)
		for _, line := range strings.Split(string(b), "\n") {
			all := true
			for _, w := range want {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true, ""
			}
		}
		return false, string(b)
	})
}

func TestExaBGPRoutes(t *testing.T) {
	x := startExaBGP(t, "")
	four, six := x.start(our4Config()), x.start(our6Config())
	four.SetAnnouncements(ourRoutes())
	six.SetAnnouncements(ourRoutes())
	four.up(t)
	six.up(t)
	x.hears(t, "198.51.100.0/24", "next-hop "+our4, "as-path [ "+onePath+" ]")
	x.hears(t, "203.0.113.0/24", "as-path [ "+threePath+" ]", "64601:70", "64601:1:2")
	x.hears(t, "2001:db8:a::/48", "next-hop "+our6, "as-path [ "+onePath+" ]")
	four.hears(t, "+10.1.0.0/16 path [64601] via 192.0.2.2 med 5 communities [64601:7] large [64601:8:9]", "+10.2.0.0/24", "end-of-rib(ipv4)")
	six.hears(t, "+2001:db8:1::/48 path [64601] via 2001:db8::2 med 0 communities [64601:7]", "end-of-rib(ipv6)")
}

func TestExaBGPPassword(t *testing.T) {
	x := startExaBGP(t, "secret")
	c4, c6 := our4Config(), our6Config()
	c4.Password, c6.Password = []byte("secret"), []byte("secret")
	four, six := x.start(c4), x.start(c6)
	four.up(t)
	six.up(t)
}
