package config

import "net/netip"

// API is where the daemon answers.
type API struct {
	Socket string
	// Listen is where metrics are served by TCP; invalid: nowhere.
	Listen netip.AddrPort
}

func (p *parser) api(v value) {
	remote := false
	v.fields("the api's settings", map[string]func(value){
		"socket": func(v value) { p.c.API.Socket, _ = v.scalar("the path of a socket") },
		"listen": func(v value) { p.c.API.Listen = listenAddress(v) },
		"remote": func(v value) { remote = v.bool() },
	})
	switch at := p.c.API.Listen; {
	case remote && !at.IsValid() && len(p.problems) == 0:
		v.fail("remote needs listen: it says that others than this host may ask there")
	case at.IsValid() && !at.Addr().IsLoopback() && !remote:
		v.fail("listen: %s is not of this host alone: say remote: true if whoever reaches it may read what is served there", at.Addr())
	}
}

func listenAddress(v value) netip.AddrPort {
	const want = "ADDRESS:PORT such as 127.0.0.1:8480"
	s, ok := v.scalar(want)
	if !ok {
		return netip.AddrPort{}
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil || at.Port() == 0 || at.Addr().Is4In6() || at.Addr().IsMulticast() {
		v.fail("want %s, found %q", want, s)
		return netip.AddrPort{}
	}
	return at
}
