package rtnl

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bothways/internal/kernel/netnstest"
)

// enterNetns moves the test to a network namespace of its own, with lo up.
func enterNetns(t testing.TB) {
	t.Helper()
	netnstest.Enter(t)
	ip(t, "link set lo up")
}

// open enters a namespace and opens a handle in it.
func open(t testing.TB) *Handle {
	t.Helper()
	enterNetns(t)
	h, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func ip(t testing.TB, args string) string {
	t.Helper()
	return netnstest.Run(t, append([]string{"ip"}, strings.Fields(args)...)...)
}

// lines returns the sorted lines of a command's output without the white space around and inside them.
func lines(out string) []string {
	var l []string
	for _, s := range strings.Split(out, "\n") {
		if s = strings.Join(strings.Fields(s), " "); s != "" {
			l = append(l, s)
		}
	}
	slices.Sort(l)
	return l
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 90 s", what)
		}
	}
}

func index(t testing.TB, name string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.SplitN(ip(t, "-o link show dev "+name), ":", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
