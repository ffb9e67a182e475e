package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// ask runs a command in a router's namespace.
func ask(w *lab.World, router, name string, args ...string) (string, error) {
	var out []byte
	err := w.Exec(router, func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	return string(out), err
}

// endsWithTest ends the process whose number is in a file.
func endsWithTest(t *testing.T, file string) {
	t.Cleanup(func() {
		if data, err := os.ReadFile(file); err == nil {
			exec.Command("kill", strings.TrimSpace(string(data))).Run()
		}
	})
}

const frrBGPd = "/usr/lib/frr/bgpd"

// birdIsISPA has BIRD speak BGP, with a key and watched by BFD, in place of ISP A's router. It listens on another port, for the
// lab's own speaker has the usual one.
func birdIsISPA(t *testing.T, w *lab.World) {
	t.Helper()
	conf, pid := birdFile(t, w, ""), filepath.Join(w.Dir, "bird.pid")
	inRouter(t, w, "isp-a", "bird", "-c", conf, "-s", filepath.Join(w.Dir, "bird.ctl"), "-P", pid)
	endsWithTest(t, pid)
}

// birdFile writes BIRD's configuration, with more for each BGP session.
func birdFile(t *testing.T, w *lab.World, more string) string {
	t.Helper()
	session := func(name, ours, theirs, family string) string {
		return fmt.Sprintf(`protocol bgp %s {
	local %s port 1179 as 64601; neighbor %s as 65010; password "a key"; ttl security on; hold time 9; graceful restart off; bfd on;
	connect delay time 1; connect retry time 1; error wait time 1,2;
	%s
	%s { import all; export all; };
}
`, name, theirs, ours, more, family)
	}
	text := `router id 198.18.1.1;
protocol device {}
protocol static s4 { ipv4; route 0.0.0.0/0 blackhole; route 193.0.0.0/21 blackhole; }
protocol static s6 { ipv6; route ::/0 blackhole; route 2001:67c:2e8::/48 blackhole; }
protocol bfd { interface "*" { interval 300 ms; multiplier 5; }; }
` + session("v4", "198.18.1.2", "198.18.1.1", "ipv4") + session("v6", "2001:db8:a::2", "2001:db8:a::1", "ipv6")
	conf := filepath.Join(w.Dir, "bird.conf")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return conf
}

// frrIsPrimary has FRR speak BGP in place of the circuit's first router.
func frrIsPrimary(t *testing.T, w *lab.World) {
	t.Helper()
	text := `router bgp 12076
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 bgp graceful-restart-disable
 timers bgp 3 9
`
	for _, n := range []string{"192.0.2.1", "2001:db8:1::1"} {
		text += fmt.Sprintf(" neighbor %s remote-as 65010\n neighbor %s timers connect 1\n neighbor %s ttl-security hops 1\n", n, n, n)
	}
	text += ` address-family ipv4 unicast
  network 20.60.64.0/18
  network 13.75.128.0/17
  neighbor 192.0.2.1 activate
 exit-address-family
 address-family ipv6 unicast
  network 2603:1010::/48
  neighbor 2001:db8:1::1 activate
 exit-address-family
`
	conf, pid := filepath.Join(w.Dir, "frr.conf"), filepath.Join(w.Dir, "bgpd.pid")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	inRouter(t, w, "circuit/primary", frrBGPd, "-d", "-f", conf, "-i", pid, "--vty_socket", w.Dir, "-P", "0", "-p", "1179", "-Z", "-n", "-S",
		"-z", filepath.Join(w.Dir, "zserv"))
	endsWithTest(t, pid)
}

// birdSince is when each BGP session of BIRD's came up; none where one is down.
func birdSince(w *lab.World) (map[string]time.Time, error) {
	out, err := ask(w, "isp-a", "birdc", "-s", filepath.Join(w.Dir, "bird.ctl"), "show", "protocols")
	up := map[string]time.Time{}
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Fields(line); len(f) > 5 && f[1] == "BGP" && f[5] == "Established" && err == nil {
			up[f[0]], err = time.Parse("15:04:05.000", f[4])
		}
	}
	if len(up) != 2 && err == nil {
		err = fmt.Errorf("BIRD: %s", out)
	}
	return up, err
}

// frrSession is a session as FRR sees it. It tells since when from the time that has passed, in seconds.
type frrSession struct {
	since             time.Time
	established, lost int
}

// frrSince are FRR's sessions, none where one is down.
func frrSince(w *lab.World) (map[string]frrSession, error) {
	out, err := ask(w, "circuit/primary", "vtysh", "--vty_socket", w.Dir, "-c", "show bgp neighbors json")
	var all map[string]struct {
		BGPState                                   string
		BGPTimerUpEstablishedEpoch                 int64
		ConnectionsEstablished, ConnectionsDropped int
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &all)
	}
	up := map[string]frrSession{}
	for n, s := range all {
		if s.BGPState != "Established" {
			return nil, fmt.Errorf("FRR: %s is %s", n, s.BGPState)
		}
		up[n] = frrSession{time.Unix(s.BGPTimerUpEstablishedEpoch, 0), s.ConnectionsEstablished, s.ConnectionsDropped}
	}
	if len(up) != 2 && err == nil {
		err = fmt.Errorf("FRR: %s", out)
	}
	return up, err
}

// others are the lab's world with BIRD in place of ISP A's router, with a key and BFD, and FRR in place of the circuit's first, with TTL
// security; both keep nothing of a neighbor that goes.
type others struct {
	t         *testing.T
	w         *lab.World
	bird, bfd map[string]time.Time
	frr       map[string]frrSession
}

func raiseOthers(t *testing.T) *others {
	t.Helper()
	need(t, "bird", "bird2")
	need(t, frrBGPd, "frr")
	w := raise(t, func(d *worldOf) {
		withoutGracefulRestart(d)
		a, p := d.Router("isp-a"), d.Router("circuit/primary")
		a.Edge = map[string]string{"bfd": unhurried, "passive": "true"}
		a.Password, a.TTLSecurity = "a key", true
		p.Edge = map[string]string{"passive": "true"}
		p.TTLSecurity = true
	})
	for _, name := range []string{"session:isp-a/main", "session:expressroute/primary"} {
		if err := w.Fail(within(t), name, false); err != nil {
			t.Fatal(err)
		}
	}
	birdIsISPA(t, w)
	frrIsPrimary(t, w)
	return &others{t: t, w: w}
}

// standing waits until every session stands, as all sides see it, and the kernel holds what it shall.
func (o *others) standing() {
	o.t.Helper()
	eventually(o.t, func(ctx context.Context) error {
		if _, err := birdSince(o.w); err != nil {
			return err
		}
		if _, err := frrSince(o.w); err != nil {
			return err
		}
		var all []v1.Session
		if err := o.w.Show(ctx, "sessions", &all); err != nil {
			return err
		}
		for _, s := range all {
			if s.State != "Established" || s.Accepted == 0 {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})
	settledOrDrained(o.t, o.w)
}

// remember notes since when their sessions stand.
func (o *others) remember() {
	o.t.Helper()
	o.standing()
	trackIs(o.t, o.w, "isp-a/main", "bfd", "up")
	var err error
	if o.bird, err = birdSince(o.w); err != nil {
		o.t.Fatal(err)
	}
	if o.frr, err = frrSince(o.w); err != nil {
		o.t.Fatal(err)
	}
	o.bfd = birdBFDSince(o.t, o.w)
}

// unchanged fails where one of them has seen a session end since then, or would within a hold time.
func (o *others) unchanged() {
	o.t.Helper()
	time.Sleep(10 * time.Second) // more than any hold time: what was broken would be seen
	o.standing()
	now, err := birdSince(o.w)
	if err != nil {
		o.t.Fatal(err)
	}
	sameTimes(o.t, o.bird, now)
	sameTimes(o.t, o.bfd, birdBFDSince(o.t, o.w))
	after, err := frrSince(o.w)
	if err != nil {
		o.t.Fatal(err)
	}
	for n, was := range o.frr {
		if is := after[n]; is.established != was.established || is.lost != was.lost || is.since.Sub(was.since).Abs() > time.Second {
			o.t.Errorf("FRR: %s is %+v, was %+v", n, is, was)
		}
	}
}

// TestRestartAsBIRDAndFRRSeeIt restarts the edge twice with neighbors that keep nothing of one that goes: BIRD, with keys and BFD,
// and FRR, with TTL security.
func TestRestartAsBIRDAndFRRSeeIt(t *testing.T) {
	o := raiseOthers(t)
	w := o.w
	if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: binary}); err != nil {
		t.Fatal(err)
	}
	o.remember()
	table, err := ourTable(w)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		began := time.Now()
		done, err := w.RestartEdge(within(t), "")
		if err != nil {
			t.Fatal(err)
		}
		o.standing()
		t.Logf("stood still for %d ms, reconciled %s after the word", done.Still, time.Since(began).Round(time.Millisecond))
	}
	o.unchanged()
	if after, err := ourTable(w); err != nil || after != table {
		t.Errorf("our table changed: %s (%v)", firstDifference(table, after), err)
	}
	// They still know what the edge announces, and hear what is new.
	out, err := ask(w, "isp-a", "birdc", "-s", filepath.Join(w.Dir, "bird.ctl"), "show", "route", "203.0.113.0/24")
	if err != nil || !strings.Contains(out, "203.0.113.0/24") {
		t.Errorf("BIRD: %s (%v)", out, err)
	}
	data, err := os.ReadFile(w.EdgeFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ReloadEdge(strings.Replace(string(data), "  isp-a:\n", "  isp-a:\n    prepend: 2\n", 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) error {
		out, err := ask(w, "isp-a", "birdc", "-s", filepath.Join(w.Dir, "bird.ctl"), "show", "route", "203.0.113.0/24", "all")
		if !strings.Contains(out, "65010 65010 65010") {
			return fmt.Errorf("BIRD: %s (%v)", out, err)
		}
		return nil
	})

	// A neighbor that cannot say its routes again would lose its session: nothing is done then.
	birdFile(t, w, "enable route refresh off;")
	if out, err := ask(w, "isp-a", "birdc", "-s", filepath.Join(w.Dir, "bird.ctl"), "configure"); err != nil {
		t.Fatal(out, err)
	}
	eventually(t, func(ctx context.Context) error {
		var all []v1.Session
		if err := w.Show(ctx, "sessions", &all); err != nil {
			return err
		}
		for _, s := range all {
			if s.Link == "isp-a/main" && (s.State != "Established" || slices.Contains(s.Capabilities, "refresh")) {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})
	if _, err := w.RestartEdge(within(t), ""); err == nil || !strings.Contains(err.Error(), "isp-a/main") || !strings.Contains(err.Error(), "route refresh") {
		t.Errorf("%v, want that isp-a/main cannot refresh", err)
	}
	o.standing()
}
