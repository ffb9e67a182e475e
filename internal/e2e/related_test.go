package e2e

import (
	"context"
	endian "encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	flows "bothways/internal/flow"
	"bothways/internal/nat"
)

// unreachable is the ICMP error, IPv4's, of the host that a packet is for: nobody listens there.
func unreachable(p packet) []byte {
	about := p.bytes()[:28]
	icmp := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, about...)
	endian.BigEndian.PutUint16(icmp[2:], fold(sum(0, icmp)))
	head := append(append([]byte{4<<4 | 5, 0, 0, byte(20 + len(icmp)), 0, 0, 0, 0, 64, unix.IPPROTO_ICMP, 0, 0}, p.to.Addr().AsSlice()...), p.from.Addr().AsSlice()...)
	endian.BigEndian.PutUint16(head[10:], fold(sum(0, head)))
	return append(head, icmp...)
}

// TestErrorsAreNoStrayedReplies: what the site says of a connection that came by another path is counted as a reply where it is one,
// and apart where it is an error.
func TestErrorsAreNoStrayedReplies(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	p := guardedParams()
	p.Observe = true // a reply goes wherever its destination leads
	g.replace(nat.Ruleset(p))
	strayed, related := nat.Crossing{Connection: "a", By: "b", Kind: flows.ReplyOut}.Counter(), nat.RelatedName("a", "b")
	counts := func(replies, errors uint64) {
		t.Helper()
		all, err := g.table.Counters(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if r, e := all[strayed].Packets, all[related].Packets; r != replies || e != errors {
			t.Errorf("%d strayed replies and %d errors are counted, want %d and %d", r, e, replies, errors)
		}
	}
	g.passes("a published host is asked", g.fromA, flowOf("9.9.9.9:1000", "198.51.100.40:53"), g.lanTap, netip.MustParsePrefix("9.9.9.9/32"))
	g.fromLAN(unreachable(flowOf("9.9.9.9:1000", "10.20.0.40:53")))
	counts(0, 1)
	g.marker++
	answer := flowOf("10.20.0.40:53", "9.9.9.9:1000")
	answer.marker = g.marker
	g.fromLAN(answer.bytes())
	counts(1, 1)
}
