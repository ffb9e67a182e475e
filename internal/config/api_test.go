package config

import (
	"net/netip"
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	for text, want := range map[string]string{
		"{listen: 127.0.0.1:8480}":               "127.0.0.1:8480",
		"{listen: \"[::1]:8480\"}":               "[::1]:8480",
		"{listen: 10.20.0.1:80, remote: true}":   "10.20.0.1:80",
		"{remote: true, listen: \"[::]:8480\"}":  "[::]:8480",
		"{listen: 127.0.0.1:8480, remote: true}": "127.0.0.1:8480",
	} {
		c, err := parse(strings.Replace(good, "asn: 65010", "asn: 65010\napi: "+text, 1))
		if err != nil || c.API != (API{DefaultSocket, netip.MustParseAddrPort(want)}) {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
}
