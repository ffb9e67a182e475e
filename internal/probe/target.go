package probe

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
)

// Kind is how a target is asked.
type Kind string

// Kinds.
const (
	ICMP Kind = "icmp" // an echo request is answered
	TCP  Kind = "tcp"  // a connection is accepted
	HTTP Kind = "http" // a GET is answered, and not by an error
	DNS  Kind = "dns"  // a query is answered, whatever the answer is
	ARP  Kind = "arp"  // who-has is answered: the target is on the link's own network
)

// Target is what is asked. Targets are compared by value.
type Target struct {
	Kind    Kind
	Address netip.Addr
	Port    uint16 // tcp: needed; dns: 0 is 53; http: 0 is the URL's
	URL     string // http: a name in it is not looked up, but asked for at Address
	Name    string // dns: what to ask for, as NS; empty is the root
}

// String is how the target is called in tracks and tables; it is another one for each target of a link.
func (t Target) String() string {
	switch t.Kind {
	case TCP:
		return "tcp " + t.endpoint().String()
	case HTTP:
		if u, err := url.Parse(t.URL); err == nil && u.Hostname() != t.Address.String() {
			return fmt.Sprintf("http %s at %v", t.URL, t.endpoint())
		}
		return "http " + t.URL
	case DNS:
		s := "dns " + t.Address.String()
		if t.Port != 0 && t.Port != 53 {
			s = "dns " + t.endpoint().String()
		}
		if t.Name != "" && t.Name != "." {
			s += " " + t.Name
		}
		return s
	}
	return fmt.Sprintf("%s %v", t.Kind, t.Address)
}

// endpoint is where it is asked.
func (t Target) endpoint() netip.AddrPort {
	port := t.Port
	if port == 0 {
		switch t.Kind {
		case DNS:
			port = 53
		case HTTP:
			port = urlPort(t.URL)
		}
	}
	return netip.AddrPortFrom(t.Address, port)
}

// urlPort is the port of a URL, 0 if it is not one that check accepts.
func urlPort(s string) uint16 {
	u, err := url.Parse(s)
	if err != nil {
		return 0
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	return map[string]uint16{"http": 80, "https": 443}[u.Scheme]
}

// check says what cannot be asked.
func (t Target) check() error {
	if !t.Address.IsValid() || t.Address.Is4In6() || t.Address.IsUnspecified() || t.Address.IsMulticast() {
		return fmt.Errorf("target %v: address %v, want one of a host", t, t.Address)
	}
	switch t.Kind {
	case ICMP:
	case TCP:
		if t.Port == 0 {
			return fmt.Errorf("target %v: has no port", t)
		}
	case HTTP:
		u, err := url.Parse(t.URL)
		if err != nil {
			return fmt.Errorf("target %v: %w", t, err)
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("target %v: want http://… or https://…", t)
		}
	case DNS:
		if _, err := dnsName(t.Name); err != nil {
			return fmt.Errorf("target %v: name %q: %w", t, t.Name, err)
		}
	case ARP:
		if !t.Address.Is4() {
			return fmt.Errorf("target %v: arp is for IPv4", t)
		}
	default:
		return fmt.Errorf("target %v: unknown kind %q", t.Address, t.Kind)
	}
	return nil
}
