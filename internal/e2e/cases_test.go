package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// twoCircuits makes the second link of the circuit a circuit of its own, with a pool of its own.
func twoCircuits(d *world.World) {
	r := d.Router("circuit/secondary")
	r.Link = "express2/main"
	d.Paths = append(d.Paths, world.Path{
		Name: "express2", Provider: "azure", Peering: "public",
		Announce: []netip.Prefix{netip.MustParsePrefix("198.51.100.80/28"), netip.MustParsePrefix("2001:db8:180::/48")},
		NAT:      map[netip.Prefix]string{netip.MustParsePrefix("10.20.0.0/16"): "198.51.100.80/28", netip.MustParsePrefix("fd20::/48"): "2001:db8:180::/48"},
		Edge:     map[string]string{"accept": "all"},
	})
}

// replacing edits a configuration; every old text must be there.
func replacing(pairs ...string) func(string) string {
	return func(c string) string {
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(c, pairs[i]) {
				panic(fmt.Sprintf("%q is not in\n%s", pairs[i], c))
			}
			c = strings.Replace(c, pairs[i], pairs[i+1], 1)
		}
		return c
	}
}

// crossing waits for packets that were counted with a letter.
func crossing(t *testing.T, w *lab.World, kind, of, by, letter string, provoke func(context.Context)) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		one, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		provoke(one)
		var a v1.Asymmetry
		if err := w.Show(ctx, "asymmetry", &a); err != nil {
			return err
		}
		for _, p := range a.Pairs {
			if p.Kind == kind && p.Connection == of && p.Reply == by && p.Packets > 0 && p.Case == letter && p.Remedy != "" {
				return nil
			}
		}
		return fmt.Errorf("no %s of %s by %s as case %s: %+v", kind, of, by, letter, a.Pairs)
	})
}

// TestCases builds each case of asymmetric routing that the provider's documents describe: check names it before a packet
// flows, what is counted live has its letter, and a proof finds it, or shows that here it does no harm.
func TestCases(t *testing.T) {
	const (
		circuitAnnounces = `announce: ["198.51.100.64/28", `
		ispAnnounces     = `announce: ["203.0.113.0/24", `
	)
	rows := []struct {
		letter, name string
		world        func(*world.World)
		edge         func(string) string
		static       string // what check says
		live         func(t *testing.T, w *lab.World)
		proof        func(v1.Proof) string // the verdict that is wanted; empty: any
	}{
		{
			letter: "A", name: "the circuit's pool is announced by the ISP",
			edge:   replacing(circuitAnnounces, `shared: true`+"\n    "+`announce: [`, ispAnnounces, ispAnnounces+`"198.51.100.64/28", `),
			static: "warning: path expressroute: case A: pool 198.51.100.64/28 is not announced here",
			live: func(t *testing.T, w *lab.World) {
				crossing(t, w, "replies in", "expressroute", "isp-a", "A", asks(w, "storage"))
			},
			proof: func(p v1.Proof) string {
				return wantIf(p, p.Path == "expressroute" && p.Kind == "pool" && p.Family == "ipv4", "other path", "A")
			},
		},
		{
			letter: "B", name: "the ISP's pool is announced on the circuit",
			edge:   replacing(circuitAnnounces, "shared: true\n    "+circuitAnnounces+`"203.0.113.0/24", `),
			static: "warning: path isp-a: case B: pool 203.0.113.0/27 is announced as 203.0.113.0/24 on the circuit expressroute too",
			live: func(t *testing.T, w *lab.World) {
				crossing(t, w, "replies in", "isp-a", "expressroute", "B", asks(w, "vpn-gateway"))
			},
			proof: func(p v1.Proof) string {
				return wantIf(p, p.Path == "isp-a" && p.Kind == "pool" && p.Family == "ipv4", "other path", "B")
			},
		},
		{
			letter: "C", name: "a host published by the ISP is asked for on the circuit",
			edge: replacing(circuitAnnounces, circuitAnnounces+`"203.0.113.64/26", `,
				"  isp-a:\n", "  isp-a:\n    publish: {203.0.113.70: 10.20.1.10}\n"),
			static: "warning: path isp-a: case C: the published address 203.0.113.70 is announced as 203.0.113.64/26 on the circuit expressroute too",
			live: func(t *testing.T, w *lab.World) {
				crossing(t, w, "requests", "isp-a", "expressroute", "C", knocks(w, "storage", "203.0.113.70:80"))
			},
			proof: func(p v1.Proof) string {
				return wantIf(p, p.Path == "isp-a" && p.Kind == "published", "other path", "C")
			},
		},
		{
			letter: "C", name: "replies to what came by the ISP follow the circuit's routes, where nothing holds them",
			edge:   replacing("  isp-a:\n", "  isp-a:\n    publish: {203.0.113.70: 10.20.1.10}\n", "paths:\n", "symmetry: observe\npaths:\n"),
			static: "good",
			live: func(t *testing.T, w *lab.World) {
				crossing(t, w, "replies out", "isp-a", "expressroute", "C", knocks(w, "storage", "203.0.113.70:80"))
			},
			proof: func(p v1.Proof) string {
				return wantIf(p, p.Path == "isp-a" && p.Kind == "published", "same path", "")
			},
		},
		{
			letter: "D", name: "the pool of one circuit is announced on another",
			world:  twoCircuits,
			edge:   replacing(`announce: ["198.51.100.80/28", `, "shared: true\n    "+`announce: ["198.51.100.80/28", "198.51.100.64/29", "198.51.100.72/29", `),
			static: "warning: path expressroute: case D: pool 198.51.100.64/28 is announced as 198.51.100.64/29 on the circuit express2 too",
			live: func(t *testing.T, w *lab.World) {
				crossing(t, w, "replies in", "expressroute", "express2", "D", asks(w, "storage"))
			},
			proof: func(p v1.Proof) string {
				return wantIf(p, p.Path == "expressroute" && p.Kind == "pool" && p.Family == "ipv4", "other path", "D")
			},
		},
		{
			letter: "E", name: "all of the provider's servers may ask, and only some have a way back",
			edge: replacing("accept: all\n", "accept: [20.60.72.0/22, \"2603:1010::/32\"]\n    publish: {198.51.100.70: 10.20.1.10}\n",
				"paths:\n", "symmetry: observe\npaths:\n"),
			static: "warning: path expressroute: case E: 198.51.100.70 is published, and accept takes a part of the provider's prefixes only",
			live: func(t *testing.T, w *lab.World) {
				crossing(t, w, "replies out", "expressroute", "isp-a", "E", knocks(w, "sql", "198.51.100.70:80"))
			},
			proof: func(p v1.Proof) string {
				return wantIf(p, p.Path == "expressroute" && p.Kind == "published", "same path", "")
			},
		},
		{
			letter: "F", name: "the provider drains a circuit, and the site prefers it all the same",
			world: twoCircuits,
			edge: replacing("  express2:\n", "  express2:\n    preference: 140\n    shared: true\n",
				`announce: ["198.51.100.80/28", `, `announce: ["198.51.100.80/28", "198.51.100.64/29", "198.51.100.72/29", `),
			static: "warning: path expressroute: case F: preference 150 before 140 of the circuit express2",
			live: func(t *testing.T, w *lab.World) {
				if err := w.Prepend(within(t), "expressroute/primary", 8); err != nil {
					t.Fatal(err)
				}
				event(t, w, "drain", "the provider drains this link")
				eventually(t, func(ctx context.Context) error {
					var y v1.Symmetry
					if err := w.Show(ctx, "symmetry", &y); err != nil {
						return err
					}
					for _, f := range y.Findings {
						if f.Subject == "link expressroute/primary" && f.Case == "F" {
							return nil
						}
					}
					return fmt.Errorf("traffic still uses the drained circuit, and that is no finding: %+v", y.Findings)
				})
				crossing(t, w, "replies in", "expressroute", "express2", "F", asks(w, "storage"))
			},
			proof: func(p v1.Proof) string {
				return wantIf(p, p.Path == "expressroute" && p.Kind == "pool" && p.Family == "ipv4", "other path", "F")
			},
		},
		{
			letter: "G", name: "what accept leaves out is answered on the circuit",
			world: func(d *world.World) {
				d.Path("isp-a").Edge = map[string]string{"prove": `{every: 1s, timeout: 500ms, addresses: 3, targets: [{icmp: 13.75.128.10}]}`}
			},
			edge:   replacing("accept: all\n", "accept: [20.60.72.0/22, \"2603:1010::/32\"]\n    shared: true\n", circuitAnnounces, circuitAnnounces+`"203.0.113.0/24", `),
			static: "warning: path expressroute: case G: accept takes a part of the provider's prefixes only, and pool 203.0.113.0/27 of path isp-a is announced here",
			live: func(t *testing.T, w *lab.World) {
				crossing(t, w, "replies in", "isp-a", "expressroute", "G", asks(w, "sql"))
			},
			proof: func(p v1.Proof) string {
				return wantIf(p, p.Path == "isp-a" && p.Kind == "pool" && p.Family == "ipv4", "other path", "G")
			},
		},
	}
	for _, row := range rows {
		t.Run(row.letter, func(t *testing.T) {
			t.Parallel()
			w := raise(t, func(d *world.World) {
				if row.world != nil {
					row.world(d)
				}
				proving(d)
			})
			edgeWith(t, w, func(c string) string {
				c = row.edge(c)
				if said := checks(t, c); !strings.Contains(said, row.static) {
					t.Errorf("%s: check says\n%s\nwant %q", row.name, said, row.static)
				}
				return c
			})
			settled(t, w)
			row.live(t, w)
			proofs(t, w, row.proof)
		})
	}
}

// wantIf wants a verdict of some proofs; also their letter, by a word that no verdict has where it is missing.
func wantIf(p v1.Proof, these bool, verdict, letter string) string {
	switch {
	case !these:
		return ""
	case p.Verdict == verdict && p.Case != letter:
		return verdict + ", case " + letter
	}
	return verdict
}

// checks is what the check of a configuration says.
func checks(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "check", file).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}

// event waits for an event of a kind whose text begins so.
func event(t *testing.T, w *lab.World, kind, text string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		var events []v1.Event
		if err := w.Show(ctx, "events", &events); err != nil {
			return err
		}
		for _, e := range events {
			if e.Kind == kind && strings.HasPrefix(e.Text, text) {
				return nil
			}
		}
		return fmt.Errorf("no event %s: %s", kind, text)
	})
}

// asks has the client ask a service once; whether it is answered is no matter.
func asks(w *lab.World, host string) func(context.Context) {
	return func(ctx context.Context) {
		if to, err := w.Address(host, false); err == nil {
			_, _ = w.Ask(ctx, "client", to)
		}
	}
}

// knocks has a host of the cloud open a connection to the site, which may fail: a short one, again and again.
func knocks(w *lab.World, host, to string) func(context.Context) {
	return func(ctx context.Context) {
		from, err := w.Address(host, false)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_ = w.Exec(lab.Cloud, func() error {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
			c, err := d.DialContext(ctx, "tcp4", to)
			if err == nil {
				c.Close()
			}
			return err
		})
	}
}

// TestProviderDrainsALink has the provider drain one link of the circuit, by a longer path and by a graceful shutdown: traffic moves
// to the other one, and back, and not a packet is lost.
func TestProviderDrainsALink(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edge(t, w)
	s, err := w.Stream(t.Context(), "client", address(t, w, "storage", false), 2000)
	if err != nil {
		t.Fatal(err)
	}
	prepend := func(router string, on bool) error {
		return w.Prepend(within(t), router, map[bool]int{true: 8}[on])
	}
	leave := func(router string, on bool) error { return w.Leave(within(t), router, on) }
	for _, step := range []struct {
		drain   func(string, bool) error
		drained string
		on      bool
	}{
		{prepend, "expressroute/primary", true}, {prepend, "expressroute/primary", false},
		{prepend, "expressroute/secondary", true}, {prepend, "expressroute/secondary", false},
		{leave, "expressroute/primary", true}, {leave, "expressroute/primary", false},
	} {
		if err := step.drain(step.drained, step.on); err != nil {
			t.Fatal(err)
		}
		eventually(t, func(ctx context.Context) error {
			var y v1.Symmetry
			if err := w.Show(ctx, "symmetry", &y); err != nil {
				return err
			}
			left := false
			for _, f := range y.Findings {
				left = left || f.Subject == "link "+step.drained && f.Case == ""
			}
			if left != step.on {
				return fmt.Errorf("%s drained: %t, findings %+v", step.drained, step.on, y.Findings)
			}
			return nil
		})
		if step.on {
			other := map[string]string{"expressroute/primary": "circuit/secondary", "expressroute/secondary": "circuit/primary"}[step.drained]
			via(t, w, "client", "storage", other)
		}
	}
	if l := s.Stop(); l.Out+l.Back != 0 || l.Returned == 0 {
		t.Errorf("packets were lost: %s", l)
	}
}

// TestRepliesToHostsThatTheCircuitDoesNotReach has a server of the provider ask for a published host, from a prefix that the
// site does not accept: the reply goes back by the circuit all the same, which has no route to it.
func TestRepliesToHostsThatTheCircuitDoesNotReach(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edgeWith(t, w, replacing("accept: all\n", "accept: [20.60.72.0/22, \"2603:1010::/32\"]\n    publish: {198.51.100.70: 10.20.1.10}\n"))
	settled(t, w)
	serveLines(t, w, "client", "10.20.1.10:80")
	asked := func(host string) {
		from := address(t, w, host, false)
		eventually(t, func(ctx context.Context) error {
			got, err := askFrom(ctx, w, lab.Cloud, from, "198.51.100.70:80")
			if err != nil || got != from.String() {
				return fmt.Errorf("%s asks, and the host sees %q: %w", host, got, err)
			}
			return nil
		})
	}
	asked("storage")
	asked("sql")
	if a := asymmetry(t, w); len(a.Pairs) != 0 {
		t.Errorf("replies took another path: %+v", a.Pairs)
	}
	if err := w.Fail(within(t), "expressroute/primary", false); err != nil {
		t.Fatal(err)
	}
	asked("sql")
}
