package probe

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestTargetNames(t *testing.T) {
	for want, target := range map[string]Target{
		"icmp 198.18.53.1":                              {Kind: ICMP, Address: addr("198.18.53.1")},
		"icmp 2001:db8::1":                              {Kind: ICMP, Address: addr("2001:db8::1")},
		"tcp 198.18.53.2:443":                           {Kind: TCP, Address: addr("198.18.53.2"), Port: 443},
		"tcp [2001:db8::1]:443":                         {Kind: TCP, Address: addr("2001:db8::1"), Port: 443},
		"dns 198.18.53.3":                               {Kind: DNS, Address: addr("198.18.53.3")},
		"dns 198.18.53.3:5353 example.com":              {Kind: DNS, Address: addr("198.18.53.3"), Port: 5353, Name: "example.com"},
		"http http://198.18.53.2/":                      {Kind: HTTP, Address: addr("198.18.53.2"), URL: "http://198.18.53.2/"},
		"http https://example.com/ at 198.18.53.2:443":  {Kind: HTTP, Address: addr("198.18.53.2"), URL: "https://example.com/"},
		"http http://example.com:81/ at 198.18.53.2:81": {Kind: HTTP, Address: addr("198.18.53.2"), URL: "http://example.com:81/"},
		"arp 192.0.2.2":                                 {Kind: ARP, Address: addr("192.0.2.2")},
	} {
		if got := target.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if err := target.check(); err != nil {
			t.Error(err)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	v4 := addr("192.0.2.1")
	good := Config{Link: "isp-a/main", Interface: "wan0", Source4: v4, Every: 200 * time.Millisecond, Targets: []Target{{Kind: ICMP, Address: v4}}}
	p := New(nil, nil)
	if err := p.Set([]Config{good}); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"link has no name":              func(c *Config) { c.Link = "" },
		"no interface":                  func(c *Config) { c.Interface = "" },
		"probes every 1ms":              func(c *Config) { c.Every = time.Millisecond },
		"time out after 1s":             func(c *Config) { c.Timeout = time.Second },
		"want one of a host":            func(c *Config) { c.Targets[0].Address = netip.Addr{} },
		"want one of a host ":           func(c *Config) { c.Targets[0].Address = addr("0.0.0.0") },
		"has no port":                   func(c *Config) { c.Targets[0].Kind = TCP },
		"want http://… or https://…":    func(c *Config) { c.Targets[0].Kind, c.Targets[0].URL = HTTP, "ftp://x/" },
		"name \"a..b\"":                 func(c *Config) { c.Targets[0].Kind, c.Targets[0].Name = DNS, "a..b" },
		"arp is for IPv4":               func(c *Config) { c.Targets[0] = Target{Kind: ARP, Address: addr("2001:db8::1")} },
		"unknown kind \"smtp\"":         func(c *Config) { c.Targets[0].Kind = "smtp" },
		"no source address for icmp 20": func(c *Config) { c.Targets[0].Address = addr("2001:db8::1") },
		"is there twice":                func(c *Config) { c.Targets = append(c.Targets, c.Targets[0]) },
	} {
		c := good
		c.Targets = []Target{good.Targets[0]}
		change(&c)
		if err := p.Set([]Config{c}); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := p.Set([]Config{good, good}); err == nil || !strings.Contains(err.Error(), "is there twice") {
		t.Error(err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0x45, 19: 0, 20: 0, 24: 0, 25: 7, 27: 9})
	q, _ := dnsQuery(7, "")
	f.Add(q)
	b, _, _ := arpRequest(1, make([]byte, 6), addr("192.0.2.1"), addr("192.0.2.2"))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		echoReply(b, true, 7)
		echoReply(b, false, 7)
		dnsAnswer(b)
		arpReply(b, addr("192.0.2.1"))
	})
}
