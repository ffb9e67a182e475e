package session

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothways/internal/bgp/fsm"
	"bothways/internal/kernel/netnstest"
	"bothways/internal/route"
)

const frrBGPd = "/usr/lib/frr/bgpd"

// frr is FRR's bgpd on the far side, without zebra: it talks BGP and leaves the kernel alone.
type frr struct {
	*world
	p *netnstest.Daemon
}

type frrConfig struct {
	password string
	gtsm     bool
}

func startFRR(t *testing.T, c frrConfig) *frr {
	t.Helper()
	f := &frr{world: newWorld(t, frrBGPd, "frr")}
	options := ""
	for _, n := range []string{our4, our6} {
		options += fmt.Sprintf(" neighbor %s remote-as %d\n neighbor %s timers connect 2\n", n, uint32(ourAS), n)
		if c.password != "" {
			options += fmt.Sprintf(" neighbor %s password %s\n", n, c.password)
		}
		if c.gtsm {
			options += fmt.Sprintf(" neighbor %s ttl-security hops 1\n", n)
		}
	}
	f.file("frr.conf", fmt.Sprintf(`
log stdout debugging
debug bgp neighbor-events
router bgp %d
 bgp router-id 198.51.100.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 bgp graceful-restart
 bgp graceful-restart notification
 timers bgp 3 9
%s address-family ipv4 unicast
  network 10.1.0.0/16 route-map out
  network 10.2.0.0/24
  neighbor %s activate
  neighbor %s soft-reconfiguration inbound
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:1::/48 route-map out
  network 2001:db8:2::/64
  neighbor %s activate
 exit-address-family
!
route-map out permit 10
 set community 64601:7
 set large-community 64601:8:9
 set metric 5
!
`, theirAS, options, our4, our4, our6))
	f.begin()
	return f
}

func (f *frr) begin(flags ...string) {
	f.t.Helper()
	args := append([]string{frrBGPd, "-f", filepath.Join(f.dir, "frr.conf"), "-i", filepath.Join(f.dir, "bgpd.pid"),
		"--vty_socket", f.dir, "-P", "0", "-Z", "-n", "-S", "-z", filepath.Join(f.dir, "zserv")}, flags...)
	f.p = f.daemon(args...)
	eventually(f.t, "bgpd answers", 90*time.Second, func() (bool, string) {
		got := f.vtysh("show bgp summary")
		return strings.Contains(got, "198.51.100.1"), got + f.p.Output()
	})
}

func (f *frr) vtyshArgs(commands ...string) []string {
	args := []string{"vtysh", "--vty_socket", f.dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return args
}

func (f *frr) vtysh(commands ...string) string { return f.ask(f.vtyshArgs(commands...)...) }

func (f *frr) saysRoute(prefix string, want ...string) {
	f.t.Helper()
	family := "ipv4"
	if strings.Contains(prefix, ":") {
		family = "ipv6"
	}
	f.says(want, f.vtyshArgs("show bgp "+family+" unicast "+prefix+" json")...)
}

func TestFRRRoutes(t *testing.T) {
	f := startFRR(t, frrConfig{})
	four, six := f.start(our4Config()), f.start(our6Config())
	four.SetAnnouncements(ourRoutes())
	six.SetAnnouncements(ourRoutes())
	four.up(t)
	six.up(t)
	f.saysRoute("198.51.100.0/24", `"string":"`+onePath+`"`, `"ip":"`+our4+`"`, `"origin":"IGP"`)
	f.saysRoute("203.0.113.0/24", `"string":"`+threePath+`"`, `"64601:70"`, `"64601:1:2"`)
	f.saysRoute("2001:db8:a::/48", `"string":"`+onePath+`"`, `"ip":"`+our6+`"`)
	f.saysRoute("2001:db8:b::/48", `"string":"`+threePath+`"`, `"64601:70"`, `"64601:1:2"`)
	four.hears(t, "+10.1.0.0/16 path [64601] via 192.0.2.2 med 5 communities [64601:7] large [64601:8:9]", "+10.2.0.0/24", "end-of-rib(ipv4)")
	six.hears(t, "+2001:db8:1::/48 path [64601] via 2001:db8::2 med 5 communities [64601:7]", "+2001:db8:2::/64", "end-of-rib(ipv6)")
	if n := four.Status().Negotiated; !n.FourOctetAS || n.Graceful == nil || n.Hold != 9*time.Second {
		t.Errorf("negotiated %+v", n)
	}

	four.SetAnnouncements(announcements("198.51.100.0/24"))
	f.saysRoute("203.0.113.0/24", "!"+threePath)
	f.vtysh("conf t", "router bgp 64601", "address-family ipv4 unicast", "no network 10.2.0.0/24")
	four.hears(t, "-10.2.0.0/24")
}

func TestFRRPassword(t *testing.T) {
	for _, tt := range []struct {
		name, ours string
		up         bool
	}{{"right", "secret", true}, {"wrong", "other", false}, {"none", "", false}} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFRR(t, frrConfig{password: "secret"})
			c4, c6 := our4Config(), our6Config()
			c4.Password, c6.Password = []byte(tt.ours), []byte(tt.ours)
			four, six := f.start(c4), f.start(c6)
			if tt.up {
				four.up(t)
				six.up(t)
				return
			}
			staysDown(t, four, six)
		})
	}
}

func TestFRRTTLSecurity(t *testing.T) {
	f := startFRR(t, frrConfig{gtsm: true})
	c4, c6 := our4Config(), our6Config()
	c4.TTLSecurity, c6.TTLSecurity = true, true
	four, six := f.start(c4), f.start(c6)
	four.up(t)
	six.up(t)
}

func TestFRRRefresh(t *testing.T) {
	f := startFRR(t, frrConfig{})
	s := f.start(our4Config())
	s.SetAnnouncements(ourRoutes())
	s.up(t)
	s.hears(t, "end-of-rib(ipv4)")
	f.saysRoute("198.51.100.0/24", onePath)

	s.recorder.take()
	if err := s.RequestRefresh(route.IPv4); err != nil {
		t.Fatal(err)
	}
	s.hears(t, "+10.1.0.0/16", "+10.2.0.0/24")

	before := s.Status().Out.Updates
	f.vtysh("conf t", "router bgp 64601", "address-family ipv4 unicast", "no neighbor "+our4+" soft-reconfiguration inbound")
	f.vtysh("clear bgp ipv4 unicast " + our4 + " in")
	eventually(t, "routes are sent again", 90*time.Second, func() (bool, string) {
		n := s.Status().Out.Updates
		return n >= before+2, fmt.Sprint(n, " after ", before)
	})
	f.saysRoute("198.51.100.0/24", onePath)
	if n := s.Status().Established; n != 1 {
		t.Errorf("came up %d times", n)
	}
}

func TestFRRKeepsOurRoutesThroughARestart(t *testing.T) {
	f := startFRR(t, frrConfig{})
	s := f.start(our4Config())
	s.SetAnnouncements(ourRoutes())
	s.up(t)
	f.saysRoute("203.0.113.0/24", threePath)

	s.stop()
	f.saysRoute("203.0.113.0/24", threePath, `"stale":true`)

	c := our4Config()
	c.Graceful.Restarting, c.Graceful.Preserved, c.HoldEndOfRIB = true, true, true
	s = f.start(c)
	s.up(t)
	f.saysRoute("203.0.113.0/24", threePath, `"stale":true`)
	s.SetAnnouncements(announcements("203.0.113.0/24"))
	s.ReleaseEndOfRIB()
	f.saysRoute("198.51.100.0/24", "!"+onePath)
	f.saysRoute("203.0.113.0/24", `"string":"`+onePath+`"`, `!"stale":true`)
}

func TestFRRRestarts(t *testing.T) {
	f := startFRR(t, frrConfig{})
	s := f.start(our4Config())
	s.up(t)
	s.hears(t, "end-of-rib(ipv4)")
	f.p.Stop(syscall.SIGKILL)
	s.hears(t, "stale [ipv4]")
	s.recorder.take()
	f.begin()
	s.up(t)
	s.hears(t, "up", "+10.1.0.0/16", "end-of-rib(ipv4)")
}

func TestFRRShutdownMessages(t *testing.T) {
	f := startFRR(t, frrConfig{})
	c4 := our4Config()
	c4.Graceful = fsm.Graceful{} // FRR 8.4 shows no message that is wrapped in a hard reset
	four, six := f.start(c4), f.start(our6Config())
	four.up(t)
	six.up(t)
	four.Shutdown("moving to the new rack")
	eventually(t, "FRR logs our message", 90*time.Second, func() (bool, string) {
		got := f.p.Output()
		return strings.Contains(got, "moving to the new rack"), got
	})
	f.vtysh("conf t", "router bgp 64601", "neighbor "+our6+" shutdown message see you at 3")
	six.hears(t, "see you at 3")
	f.vtysh("conf t", "router bgp 64601", "no neighbor "+our6+" shutdown")
	eventually(t, "comes back", 90*time.Second, func() (bool, string) {
		return six.Status().Phase == fsm.Established, fmt.Sprintf("%+v", six.Status())
	})
	six.Shutdown("for good")
	f.says([]string{"Cease/Administrative Shutdown/Hard Reset"}, f.vtyshArgs("show bgp neighbors "+our6)...)
}
