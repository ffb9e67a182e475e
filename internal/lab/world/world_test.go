package world

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bothways/internal/config"
	"bothways/internal/lab/feed"
)

func TestDefaultIsWhole(t *testing.T) {
	w := Default()
	var circuit []netip.Prefix
	for _, name := range w.Router("circuit/primary").Feeds {
		routes, err := feed.Load(name, 12076)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			circuit = append(circuit, r.Prefix)
		}
	}
	covered := func(a netip.Addr) bool {
		for _, p := range circuit {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	if len(w.Cloud) != 12 {
		t.Errorf("%d cloud hosts, want a dozen", len(w.Cloud))
	}
	for _, h := range w.Cloud {
		for _, a := range h.Addresses {
			if !covered(a) {
				t.Errorf("%s: %s lies in no prefix of the circuit", h.Name, a)
			}
		}
	}
	for _, h := range w.Internet {
		for _, a := range h.Addresses {
			if covered(a) {
				t.Errorf("%s: %s lies in a prefix of the circuit", h.Name, a)
			}
		}
	}
	if pins := w.Pinned(); len(pins) != 2 {
		t.Errorf("pinned: %v", pins)
	}
}

func TestEdgeConfigIsTaken(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := Default()
	w.Router("isp-a").Password = "secret"
	w.Router("isp-a").TTLSecurity = true
	w.Router("isp-a").Edge = map[string]string{"max-prefixes": "1000"}
	text := w.EdgeConfig(EdgeFiles{Socket: "/tmp/x.sock", Password: func(string) string { return key }})
	c, err := config.Parse(strings.NewReader(text), "edge.yaml", os.ReadFile)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, f := range config.Lint(c) {
		if f.Severity == config.SeverityError {
			t.Errorf("%s\n%s", f, text)
		}
	}
}

func TestParseIsStrict(t *testing.T) {
	good := string(DefaultFile())
	for name, change := range map[string][2]string{
		"field colour not found":   {"name: default", "name: default\ncolour: red"},
		"want circuit or internet": {"side: circuit", "side: left"},
		"interface of its own":     {"interface: er1", "interface: er0"},
		"is of no path":            {"link: isp-b/main", "link: isp-c/main"},
		"name of its own":          {"name: backup,", "name: client,"},
		"feeds: want some of":      {"feeds: [public-peering-128,", "feeds: [nothing,"},
		"has no asn":               {"asn: 12076\n    hold: 10s", "hold: 10s"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("%s: the change changes nothing", name)
		}
		if _, err := Parse(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error with %q, found %v", name, err)
		}
	}
}
