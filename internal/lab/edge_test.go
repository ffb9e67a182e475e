package lab

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"bothways/internal/lab/world"
)

// withEdge starts the real edge and waits until all sessions are up.
func withEdge(t *testing.T, d *world.World) *World {
	t.Helper()
	w := raise(t, d)
	if err := w.StartEdge(within(t, patience), EdgeOptions{Binary: edgeBinary}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if log, err := os.ReadFile(w.EdgeLog()); err == nil && t.Failed() {
			t.Logf("the edge's log:\n%s", log)
		}
	})
	sessionsUp(t, w)
	return w
}

func sessionsUp(t *testing.T, w *World) {
	t.Helper()
	eventually(t, patience, func() error {
		for _, r := range w.Description.Routers {
			if r.ASN == 0 {
				continue
			}
			all, err := w.Sessions(t.Context(), r.Name)
			if err != nil {
				return err
			}
			for _, s := range all {
				if !s.Established {
					return fmt.Errorf("%s: session with %s: %s", r.Name, s.Peer, s.State)
				}
			}
		}
		return nil
	})
}

func sees(t *testing.T, w *World, host string, v6 bool, pool, via string) {
	t.Helper()
	to := address(t, w, host, v6)
	eventually(t, patience, func() error {
		a, err := w.Ask(t.Context(), "client", to)
		if err != nil {
			return err
		}
		if !netip.MustParsePrefix(pool).Contains(a.SeenAs) || a.Via != via {
			return fmt.Errorf("%s sees %s by %s, want %s by %s", host, a.SeenAs, a.Via, pool, via)
		}
		return nil
	})
}

func TestEdgeEndToEnd(t *testing.T) {
	t.Parallel()
	w := withEdge(t, world.Default())
	ctx := within(t, patience)
	if err := w.Fail(ctx, "expressroute/secondary", false); err != nil {
		t.Fatal(err)
	}
	sees(t, w, "storage", false, "198.51.100.64/28", "circuit/primary")
	sees(t, w, "storage", true, "2001:db8:100::/48", "circuit/primary")
	sees(t, w, "vpn-gateway", false, "203.0.113.0/27", "isp-a")
	sees(t, w, "registry", true, "2001:db8:200::/48", "isp-a")
	outages, err := w.Change(ctx, "client", []netip.Addr{address(t, w, "storage", false)},
		func(a Answer) bool { return a.Via == "isp-a" },
		func() error { return w.Fail(ctx, "expressroute/primary", false) })
	if err != nil || len(outages) != 1 || outages[0].Took > time.Second {
		t.Errorf("the circuit fails: %v, %v", outages, err)
	}
	sees(t, w, "storage", true, "2001:db8:200::/48", "isp-a")
	if err := w.HealAll(ctx); err != nil {
		t.Fatal(err)
	}
	sessionsUp(t, w)
	var links []struct {
		Name  string
		State string
	}
	if err := w.Show(ctx, "links", &links); err != nil || len(links) != 8 {
		t.Errorf("links: %+v, %v", links, err)
	}
	if err := w.StopEdge(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// The options of a router and of the edge's link fit each other.
func TestEdgeOptions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*world.World){
		"password":     func(w *world.World) { w.Router("circuit/primary").Password = "Secret1" },
		"ttl security": func(w *world.World) { w.Router("isp-a").TTLSecurity = true },
		"no graceful restart": func(w *world.World) {
			w.Router("isp-a").GracefulRestart = false
			w.Router("isp-a").Edge = map[string]string{"graceful-restart": "false"}
		},
		"the router waits": func(w *world.World) { w.Router("isp-a").Passive = true },
		"the edge waits":   func(w *world.World) { w.Router("isp-a").Edge = map[string]string{"passive": "true"} },
		"isp-b with BGP": func(w *world.World) {
			r := w.Router("isp-b")
			r.ASN, r.Hold, r.Default = 64602, 9*time.Second, true
			w.Path("isp-b").Announce = []netip.Prefix{netip.MustParsePrefix("2001:db8:300::/48")}
		},
		"IPv4 alone": func(w *world.World) { w.SetFamilies(true, false) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := world.Default()
			change(d)
			w := withEdge(t, d)
			sees(t, w, "registry", false, "203.0.113.0/27", "isp-a")
		})
	}
}

func TestFullFeeds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	d := world.Default()
	d.Router("isp-a").Feeds = []string{"isp-a"}
	d.Router("circuit/primary").Feeds = []string{"microsoft-peering"}
	d.Router("circuit/secondary").Feeds = []string{"microsoft-peering"}
	b := d.Router("isp-b")
	b.ASN, b.Hold, b.Default, b.Feeds = 64602, 90*time.Second, true, []string{"isp-b"}
	d.Router("isp-a").Hold = 90 * time.Second
	w := withEdge(t, d)
	want := map[string]int{"isp-a/main": 318457, "isp-b/main": 323485, "expressroute/primary": 10143, "expressroute/secondary": 10143}
	eventually(t, patience, func() error {
		var links []struct {
			Name, Family string
			Received     int
		}
		if err := w.Show(t.Context(), "links", &links); err != nil {
			return err
		}
		for _, l := range links {
			if l.Family == "ipv4" && l.Received < want[l.Name] {
				return fmt.Errorf("%s received %d of %d", l.Name, l.Received, want[l.Name])
			}
		}
		return nil
	})
	sees(t, w, "storage", true, "2001:db8:100::/48", "circuit/primary")
}
