package probe

import (
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// ICMP types that we hear.
const (
	echoReply4 = 0
	echoReply6 = 129
)

// echoRequest makes an echo request. The kernel fills in the checksum of ICMPv6.
func echoRequest(v4 bool, id, seq uint16) []byte {
	m := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: int(id), Seq: int(seq), Data: []byte("bothways")}}
	if v4 {
		m.Type = ipv4.ICMPTypeEcho
	}
	b, err := m.Marshal(nil)
	if err != nil {
		panic("probe: echo request: " + err.Error())
	}
	return b
}

// echoReply reads the sequence number of an answer to one of ours. An IPv4 raw socket hears the IP header too.
func echoReply(b []byte, v4 bool, id uint16) (seq uint16, ok bool) {
	want := byte(echoReply6)
	if v4 {
		want = echoReply4
		if len(b) < 20 {
			return 0, false
		}
		b = b[min(int(b[0]&0xf)*4, len(b)):]
	}
	if len(b) < 8 || b[0] != want || uint16(b[4])<<8|uint16(b[5]) != id {
		return 0, false
	}
	return uint16(b[6])<<8 | uint16(b[7]), true
}
