package nft

import (
	"net/netip"
	"strings"
	"testing"

	"bothways/internal/kernel/netnstest"
)

// open moves the test to a network namespace of its own and opens a handle there.
func open(t testing.TB) *Handle {
	t.Helper()
	netnstest.Need(t, "nft", "nftables")
	netnstest.Need(t, "nsenter", "util-linux")
	netnstest.Enter(t)
	h, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return netnstest.Run(t, append([]string{name}, args...)...)
}

// cmd runs a command given as one line.
func cmd(t testing.TB, line string) string {
	t.Helper()
	f := strings.Fields(line)
	return run(t, f[0], f[1:]...)
}

func prefixes(s ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
