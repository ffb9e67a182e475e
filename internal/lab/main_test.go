package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"bothways/internal/lab/farside"
	"bothways/internal/lab/world"
)

// edgeBinary is the real edge, built once.
var edgeBinary string

// holdEnv makes the test's program raise a world, print where, and wait to be killed.
const holdEnv = "BOTHWAYS_LAB_TEST_HOLD"

func TestMain(m *testing.M) {
	Main()
	if os.Getenv(holdEnv) != "" {
		hold()
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lab-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	edgeBinary = filepath.Join(dir, "bothways")
	build := exec.Command("go", "build", "-o", edgeBinary, "bothways/cmd/bothways")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the edge does not build: %v: %s", err, out)
		return 1
	}
	return m.Run()
}

func hold() {
	w, err := Start(context.Background(), world.Default(), nil)
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(w.Dir)
	select {}
}

// raise starts a world, or says why the test cannot run here.
func raise(t *testing.T, d *world.World) *World {
	t.Helper()
	if err := CanRaise(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	w, err := Start(within(t, patience), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// patience bounds the waits for what needs the kernel's lock of network settings, which all namespaces share: on a busy
// machine it has been seen held for half a minute.
const patience = 2 * time.Minute

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// public is the default world with an inside of public addresses, so that a stand-in for the edge need not translate.
func public() *world.World {
	w := world.Default()
	w.Name = "public"
	w.Site.Addresses = []netip.Prefix{netip.MustParsePrefix("198.51.100.65/28"), netip.MustParsePrefix("2001:db8:100::1/64")}
	w.Site.Hosts = []world.Host{{Name: "client", Addresses: []netip.Addr{
		netip.MustParseAddr("198.51.100.70"), netip.MustParseAddr("2001:db8:100::70"),
	}}}
	return w
}

// standIn forwards everything to the circuit's primary router, and announces the site's circuit prefixes to all routers
// with BGP, by GoBGP: what the world does can be tried without the edge.
func standIn(t *testing.T, w *World) {
	t.Helper()
	site := w.Description.Site
	c := farside.RouterConfig{
		Name: "stand-in", ASN: site.ASN, RouterID: site.RouterID, Interface: "lo", Deaf: true,
		Prefixes: w.Description.Path("expressroute").Announce,
	}
	edge := w.spaces[Edge]
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := edge.Sysctl(key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range w.Description.Routers {
		for _, v6 := range []bool{false, true} {
			if r.ASN != 0 {
				c.Peers = append(c.Peers, farside.Peer{
					Address: r.Address(v6).Addr(), Local: r.SiteAddress(v6).Addr(), ASN: r.ASN, Hold: r.Hold,
					Password: r.Password, TTLSecurity: r.TTLSecurity, GracefulRestart: r.GracefulRestart,
				})
			}
		}
	}
	r, err := farside.StartRouter(c, edge.Start, func(farside.RouteEvent) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	toPrimary(t, w)
	eventually(t, patience, func() error {
		for _, r := range w.Description.Routers {
			if n := len(w.Learned(r.Name)); r.ASN != 0 && n != len(c.Prefixes) {
				return fmt.Errorf("%s learned %d", r.Name, n)
			}
		}
		return nil
	})
}

// toPrimary sends all from inside to the circuit's primary router.
func toPrimary(t *testing.T, w *World) {
	t.Helper()
	r := w.Description.Router("circuit/primary")
	for _, v6 := range []bool{false, true} {
		err := w.spaces[Edge].Route(everything(r.Address(v6).Addr()), 50, hopTo(r.Interface, r.Address(v6).Addr()))
		if err != nil {
			t.Fatal(err)
		}
	}
}

func eventually(t *testing.T, d time.Duration, question func() error) {
	t.Helper()
	if err := Eventually(within(t, d), question); err != nil {
		t.Fatal(err)
	}
}

func address(t *testing.T, w *World, host string, v6 bool) netip.Addr {
	t.Helper()
	a, err := w.Address(host, v6)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
