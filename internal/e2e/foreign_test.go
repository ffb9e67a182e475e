package e2e

import (
	"fmt"
	"strings"
	"testing"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// foreign is what others have in the edge's namespace: how it is made, and how it is seen.
var foreign = []struct {
	what string
	make []string
	see  []string
	want string
}{
	{"a rule with a table", []string{"ip", "rule", "add", "priority", "5000", "from", "10.20.77.0/24", "lookup", "77"}, []string{"ip", "rule"}, "5000:"},
	{"a route in it", []string{"ip", "route", "add", "9.9.9.0/24", "via", "198.18.2.1", "table", "77"}, []string{"ip", "route", "show", "table", "77"}, "9.9.9.0/24 via 198.18.2.1"},
	{"a specific route of an operator, with our metric", []string{"ip", "route", "add", "4.198.0.128/25", "via", "198.18.2.1", "metric", "100"}, []string{"ip", "route", "show"}, "4.198.0.128/25 via 198.18.2.1"},
	{"a DHCP client's default on isp-b's line", []string{"ip", "route", "add", "default", "via", "198.18.2.1", "dev", "wan1", "proto", "dhcp", "metric", "10"}, []string{"ip", "route", "show"}, "default via 198.18.2.1"},
	{"a static IPv6 default", []string{"ip", "-6", "route", "add", "default", "via", "2001:db8:b::1", "metric", "10"}, []string{"ip", "-6", "route", "show"}, "default via 2001:db8:b::1"},
	{"a nexthop object", []string{"ip", "nexthop", "add", "id", "7", "via", "198.18.2.1", "dev", "wan1"}, []string{"ip", "nexthop"}, "id 7 via"},
	{"an nftables table", []string{"nft", "add table inet theirs; add chain inet theirs x { type filter hook forward priority 0; }; add rule inet theirs x counter"}, []string{"nft", "list", "tables"}, "table inet theirs"},
	{"a root qdisc", []string{"tc", "qdisc", "add", "dev", "wan0", "root", "pfifo", "limit", "500"}, []string{"tc", "qdisc", "show", "dev", "wan0"}, "pfifo"},
}

func TestOthersThingsStay(t *testing.T) {
	t.Parallel()
	for program, pkg := range map[string]string{"ip": "iproute2", "nft": "nftables", "tc": "iproute2"} {
		need(t, program, pkg)
	}
	w := raise(t, nil)
	for _, f := range foreign {
		if _, err := inEdge(w, f.make[0], f.make[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	there := func(when string) {
		t.Helper()
		for _, f := range foreign {
			if out, err := inEdge(w, f.see[0], f.see[1:]...); err != nil || !strings.Contains(out, f.want) {
				t.Errorf("%s: %s is gone (%v):\n%s", when, f.what, err, out)
			}
		}
	}
	goes := func(when, dst, device string) {
		t.Helper()
		if out, err := inEdge(w, "ip", "route", "get", dst); err != nil || !strings.Contains(out, " dev "+device+" ") {
			t.Errorf("%s: %s goes by another way than %s (%v): %s", when, dst, device, err, out)
		}
	}
	edge(t, w)
	there("after the start")
	goes("after the start", "4.198.0.200", "wan1") // others' specific routes win
	goes("after the start", "9.8.7.6", "wan0")     // their defaults do not
	goes("after the start", "2a00::1", "wan0")
	if err := w.ReloadEdge(""); err != nil {
		t.Fatal(err)
	}
	settled(t, w)
	there("after a reload")
	if _, err := inEdge(w, binary, "--socket", w.EdgeSocket(), "stop", "--withdraw"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx contextOf) error {
		for what, cmd := range map[string][]string{
			"routes": {"ip", "route", "show", "table", "all", "proto", "98"}, "IPv6 routes": {"ip", "-6", "route", "show", "table", "all", "proto", "98"},
		} {
			if out, err := inEdge(w, cmd[0], cmd[1:]...); err != nil || out != "" {
				return fmt.Errorf("%s of ours are left (%v): %s", what, err, out)
			}
		}
		for _, cmd := range [][]string{{"ip", "rule"}, {"ip", "-6", "rule"}, {"nft", "list", "tables"}, {"ip", "nexthop"}} {
			if out, err := inEdge(w, cmd[0], cmd[1:]...); err != nil || strings.Contains(out, "proto 98") || strings.Contains(out, "bothways") {
				return fmt.Errorf("%v: ours is left (%v): %s", cmd, err, out)
			}
		}
		return nil
	})
	there("after stop --withdraw")
	goes("after stop --withdraw", "9.8.7.6", "wan1")
}

func TestWhatIsDeletedIsRepaired(t *testing.T) {
	t.Parallel()
	need(t, "ip", "iproute2")
	need(t, "nft", "nftables")
	w := raise(t, nil)
	edge(t, w)
	before, err := ourTable(w)
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range [][]string{
		{"ip", "route", "del", "4.198.0.0/19", "table", "9800"}, {"ip", "rule", "del", "priority", "10901"},
		{"ip", "nexthop", "del", "id", fmt.Sprint(groupOf(t, w))}, {"nft", "delete", "table", "inet", "bothways"},
	} {
		if _, err := inEdge(w, cmd[0], cmd[1:]...); err != nil {
			t.Fatal(err)
		}
		eventually(t, func(ctx contextOf) error {
			after, err := ourTable(w)
			if err != nil {
				return err
			}
			if after != before {
				return fmt.Errorf("%v is not repaired: %s", cmd, firstDifference(before, after))
			}
			rules, err := inEdge(w, "ip", "rule")
			if err != nil || !strings.Contains(rules, "10901:") {
				return fmt.Errorf("%v: no rule for our table (%v)", cmd, err)
			}
			_, err = inEdge(w, "nft", "list", "table", "inet", "bothways")
			return err
		})
	}
	var events []v1.Event
	if err := w.Show(within(t), "events", &events); err != nil {
		t.Fatal(err)
	}
	repaired := 0
	for _, e := range events {
		if e.Kind == "repaired" {
			repaired++
		}
	}
	if repaired < 4 {
		t.Errorf("%d repairs are reported, want at least 4: %+v", repaired, events)
	}
}

// groupOf is the nexthop group of the circuit's prefixes.
func groupOf(t *testing.T, w *lab.World) uint32 {
	t.Helper()
	var r v1.Rankings
	if err := w.Show(within(t), "rankings", &r); err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Rankings {
		if x.Family == "ipv4" && len(x.Tiers) > 1 && len(x.Tiers[0]) == 2 {
			return x.Group
		}
	}
	t.Fatalf("no group of two links: %+v", r.Rankings)
	return 0
}
