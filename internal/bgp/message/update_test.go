package message

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bothways/internal/route"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// update puts a body together from hex: withdrawn, attributes, NLRI.
func update(t testing.TB, withdrawn string, attrs []string, nlri string) []byte {
	t.Helper()
	w, a, n := unhex(t, withdrawn), unhex(t, strings.Join(attrs, "")), unhex(t, nlri)
	b := append(put16(nil, uint16(len(w))), w...)
	b = append(put16(b, uint16(len(a))), a...)
	return append(b, n...)
}

// Attributes of the tables below.
const (
	origin   = "400101 00"
	path     = "400206 0201 00002f2c" // 12076
	path2    = "400204 0201 2f2c"
	nextHop  = "400304 c0000202" // 192.0.2.2
	reach6   = "800e1a 0002 01 10 20010db8000000000000000000000002 00 20 20010db9"
	unreach6 = "800f08 0002 01 20 20010dba"
	net10    = "18 0a0a0a" // 10.10.10.0/24
)

func options() Options { return Options{FourOctetAS: true, Families: route.Families()} }

var cmpAddr = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(route.Attrs{}, "Serial")}

func TestDecode(t *testing.T) {
	base := func(change func(*route.Attrs)) *route.Attrs {
		a := &route.Attrs{Path: route.SequencePath(12076), NextHop: netip.MustParseAddr("192.0.2.2")}
		if change != nil {
			change(a)
		}
		return a
	}
	six := &route.Attrs{Path: route.SequencePath(12076), NextHop: netip.MustParseAddr("2001:db8::2")}
	ten := prefixes("10.10.10.0/24")
	announced := func(a *route.Attrs) []route.Update {
		return []route.Update{{Family: route.IPv4, Announced: ten, Attrs: a}}
	}
	withdrawn := []route.Update{{Family: route.IPv4, Withdrawn: ten}}

	for _, tt := range []struct {
		name      string
		withdrawn string
		attrs     []string
		nlri      string
		opts      *Options
		want      []route.Update
		eor       route.Family
		diag      string // of the first diagnostic
		reset     string
	}{
		{name: "plain", attrs: []string{origin, path, nextHop}, nlri: net10, want: announced(base(nil))},
		{name: "host bits are cleared", attrs: []string{origin, path, nextHop}, nlri: "14 0a0aff", want: []route.Update{
			{Family: route.IPv4, Announced: prefixes("10.10.240.0/20"), Attrs: base(nil)}}},
		{name: "default route", attrs: []string{origin, path, nextHop}, nlri: "00", want: []route.Update{
			{Family: route.IPv4, Announced: prefixes("0.0.0.0/0"), Attrs: base(nil)}}},
		{name: "withdrawn only", withdrawn: net10, want: withdrawn},
		{name: "announced wins over withdrawn", withdrawn: net10 + "08 0b", attrs: []string{origin, path, nextHop}, nlri: net10,
			want: []route.Update{{Family: route.IPv4, Withdrawn: prefixes("11.0.0.0/8"), Announced: ten, Attrs: base(nil)}}},
		{name: "end of rib, ipv4", eor: route.IPv4},
		{name: "end of rib, ipv6", attrs: []string{"800f03 0002 01"}, eor: route.IPv6},
		{name: "end of rib, other", attrs: []string{"800f03 0001 80"}},
		{name: "ipv6", attrs: []string{reach6, origin, path}, want: []route.Update{
			{Family: route.IPv6, Announced: prefixes("2001:db9::/32"), Attrs: six}}},
		{name: "ipv6 with link-local next hop", want: []route.Update{{Family: route.IPv6, Announced: prefixes("2001:db9::/32"),
			Attrs: &route.Attrs{Path: six.Path, NextHop: six.NextHop, LinkLocal: netip.MustParseAddr("fe80::2")}}},
			attrs: []string{"800e2a 0002 01 20 20010db8000000000000000000000002 fe800000000000000000000000000002 00 20 20010db9", origin, path}},
		{name: "ipv6 both ways", attrs: []string{unreach6, origin, path, reach6}, want: []route.Update{
			{Family: route.IPv6, Withdrawn: prefixes("2001:dba::/32"), Announced: prefixes("2001:db9::/32"), Attrs: six}}},
		{name: "ipv6 withdrawn", attrs: []string{unreach6}, want: []route.Update{
			{Family: route.IPv6, Withdrawn: prefixes("2001:dba::/32")}}},
		{name: "both families", attrs: []string{reach6, origin, path, nextHop}, nlri: net10, want: []route.Update{
			{Family: route.IPv4, Announced: ten, Attrs: base(nil)},
			{Family: route.IPv6, Announced: prefixes("2001:db9::/32"), Attrs: six}}},
		{name: "NEXT_HOP beside ipv6", attrs: []string{origin, path, "400304 00000000", reach6}, want: []route.Update{
			{Family: route.IPv6, Announced: prefixes("2001:db9::/32"), Attrs: six}}},
		{name: "NEXT_HOP of ipv6", attrs: []string{origin, path, "400310 20010db8000000000000000000000002", reach6}, want: []route.Update{
			{Family: route.IPv6, Announced: prefixes("2001:db9::/32"), Attrs: six}}},
		{name: "both families, NEXT_HOP nowhere", attrs: []string{reach6, origin, path, "400304 00000000"}, nlri: net10, want: []route.Update{
			{Family: route.IPv4, Withdrawn: ten}, {Family: route.IPv6, Announced: prefixes("2001:db9::/32"), Attrs: six}},
			diag: "treat-as-withdraw: NEXT_HOP: 0.0.0.0 cannot be a next hop"},
		{name: "family that was not agreed on", attrs: []string{reach6, origin, path, nextHop}, nlri: net10,
			opts: &Options{FourOctetAS: true, Families: []route.Family{route.IPv4}}, want: announced(base(nil)),
			diag: "ignored: MP_REACH_NLRI: the family was not agreed on"},
		{name: "every attribute", attrs: []string{origin, path, nextHop, "800404 00000007", "400600", "c00708 00002f2ccb007101",
			"c00808 2f2cc738 ffffff01", "c0200c 0000fbf4 00000001 00000002", "c02304 00002f2c", "c06302 0102"}, nlri: net10,
			want: announced(base(func(a *route.Attrs) {
				a.MED, a.HasMED, a.Atomic, a.OTC = 7, true, true, 12076
				a.Communities = []route.Community{12076<<16 | 51000, route.NoExport}
				a.Large = []route.LargeCommunity{{64500, 1, 2}}
			}))},
		{name: "extended length", attrs: []string{"50010001 00", path, nextHop}, nlri: net10, want: announced(base(nil))},
		{name: "path with a set", attrs: []string{origin, "40020c 0201 00002f2c 0101 00001f8b", nextHop}, nlri: net10,
			want: announced(base(func(a *route.Attrs) {
				a.Path = route.ASPath{{Kind: route.Sequence, ASNs: []uint32{12076}}, {Kind: route.Set, ASNs: []uint32{8075}}}
			}))},
		{name: "empty path", attrs: []string{origin, "400200", nextHop}, nlri: net10,
			want: announced(base(func(a *route.Attrs) { a.Path = nil }))},

		// RFC 6793
		{name: "two-byte path", attrs: []string{origin, path2, nextHop}, nlri: net10, opts: &Options{Families: route.Families()},
			want: announced(base(nil))},
		{name: "AS4_PATH", attrs: []string{origin, "400206 0202 2f2c 5ba0", nextHop, "c01106 0201 fa56ea00"}, nlri: net10,
			opts: &Options{Families: route.Families()}, want: announced(base(func(a *route.Attrs) { a.Path = route.SequencePath(12076, 4200000000) }))},
		{name: "AS4_PATH longer than the path", attrs: []string{origin, path2, nextHop, "c0110a 0202 fa56ea00 fa56ea01"}, nlri: net10,
			opts: &Options{Families: route.Families()}, want: announced(base(nil))},
		{name: "AS4_PATH behind an aggregator of two bytes", attrs: []string{origin, "400206 0202 2f2c 5ba0", nextHop, "c00706 2f2ccb007101", "c01106 0201 fa56ea00"},
			nlri: net10, opts: &Options{Families: route.Families()}, want: announced(base(func(a *route.Attrs) { a.Path = route.SequencePath(12076, ASTrans) }))},
		{name: "AS4_PATH from a four-byte neighbor", attrs: []string{origin, path, nextHop, "c01106 0201 fa56ea00"}, nlri: net10,
			want: announced(base(nil)), diag: "attribute discard: AS4_PATH: from a neighbor with four-octet AS numbers"},
		{name: "AS4_PATH with a confederation", attrs: []string{origin, "400206 0202 2f2c 5ba0", nextHop, "c0110c 0301 0000fc00 0201 fa56ea00"}, nlri: net10,
			opts: &Options{Families: route.Families()}, want: announced(base(func(a *route.Attrs) { a.Path = route.SequencePath(12076, 4200000000) })),
			diag: "attribute discard: AS4_PATH: confederation segments are left out"},
		{name: "AS4_PATH malformed", attrs: []string{origin, path2, nextHop, "c01105 0201 fa56ea"}, nlri: net10,
			opts: &Options{Families: route.Families()}, want: announced(base(nil)), diag: "attribute discard: AS4_PATH: segment runs over the end"},

		// RFC 7606: the attribute is left out
		{name: "LOCAL_PREF", attrs: []string{origin, path, nextHop, "400504 00000064"}, nlri: net10, want: announced(base(nil)),
			diag: "attribute discard: LOCAL_PREF: not for external neighbors"},
		{name: "second MED", attrs: []string{origin, path, nextHop, "800404 00000007", "800404 00000008"}, nlri: net10,
			want: announced(base(func(a *route.Attrs) { a.MED, a.HasMED = 7, true })), diag: "attribute discard: MULTI_EXIT_DISC: appears again"},
		{name: "ATOMIC_AGGREGATE", attrs: []string{origin, path, nextHop, "40060100"}, nlri: net10, want: announced(base(nil)),
			diag: "attribute discard: ATOMIC_AGGREGATE: 1 bytes, want none"},
		{name: "AGGREGATOR", attrs: []string{origin, path, nextHop, "c00706 2f2ccb007101"}, nlri: net10, want: announced(base(nil)),
			diag: "attribute discard: AGGREGATOR: 6 bytes, want 8"},
		{name: "AGGREGATOR of AS 0", attrs: []string{origin, path, nextHop, "c00708 00000000cb007101"}, nlri: net10, want: announced(base(nil)),
			diag: "attribute discard: AGGREGATOR: AS 0"},
		{name: "ORIGINATOR_ID", attrs: []string{origin, path, nextHop, "800904 01020304"}, nlri: net10, want: announced(base(nil)),
			diag: "attribute discard: ORIGINATOR_ID: not for external neighbors"},

		// RFC 7606: the routes are withdrawn
		{name: "ORIGIN", attrs: []string{"400101 03", path, nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: ORIGIN: value 3"},
		{name: "ORIGIN length", attrs: []string{"400102 0000", path, nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: ORIGIN: 2 bytes, want 1"},
		{name: "ORIGIN flags", attrs: []string{"c00101 00", path, nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: ORIGIN: flags 0xc0"},
		{name: "no ORIGIN", attrs: []string{path, nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: ORIGIN: is missing"},
		{name: "no AS_PATH", attrs: []string{origin, nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: AS_PATH: is missing"},
		{name: "no NEXT_HOP", attrs: []string{origin, path}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: NEXT_HOP: is missing"},
		{name: "no attributes", nlri: net10, want: withdrawn, diag: "treat-as-withdraw: ORIGIN: is missing"},
		{name: "AS 0", attrs: []string{origin, "400206 0201 00000000", nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: AS_PATH: AS 0"},
		{name: "path overrun", attrs: []string{origin, "400206 0202 00002f2c", nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: AS_PATH: segment runs over the end"},
		{name: "empty segment", attrs: []string{origin, "400202 0200", nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: AS_PATH: empty segment"},
		{name: "segment type", attrs: []string{origin, "400206 0901 00002f2c", nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: AS_PATH: segment of type 9"},
		{name: "confederation", attrs: []string{origin, "400206 0301 00002f2c", nextHop}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: AS_PATH: confederation segment from an external neighbor"},
		{name: "NEXT_HOP length", attrs: []string{origin, path, "400303 c00002"}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: NEXT_HOP: 3 bytes, want 4"},
		{name: "NEXT_HOP nowhere", attrs: []string{origin, path, "400304 00000000"}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: NEXT_HOP: 0.0.0.0 cannot be a next hop"},
		{name: "MED length", attrs: []string{origin, path, nextHop, "800402 0007"}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: MULTI_EXIT_DISC: 2 bytes, want 4"},
		{name: "COMMUNITIES length", attrs: []string{origin, path, nextHop, "c00803 010203"}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: COMMUNITIES: 3 bytes, want a multiple of 4"},
		{name: "LARGE_COMMUNITIES length", attrs: []string{origin, path, nextHop, "c02000"}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: LARGE_COMMUNITIES: 0 bytes, want a multiple of 12"},
		{name: "OTC length", attrs: []string{origin, path, nextHop, "c02302 0001"}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: ONLY_TO_CUSTOMER: 2 bytes, want 4"},
		{name: "list cut off", attrs: []string{origin, path, nextHop, "8004"}, nlri: net10, want: withdrawn, diag: "treat-as-withdraw: attribute list is cut off"},
		{name: "MP_REACH flags", attrs: []string{"c00e" + reach6[4:], origin, path}, want: []route.Update{{Family: route.IPv6, Withdrawn: prefixes("2001:db9::/32")}},
			diag: "treat-as-withdraw: MP_REACH_NLRI: flags 0xc0"},

		// the session ends
		{name: "too short", withdrawn: "", attrs: nil, reset: ""},
		{name: "prefix length", attrs: []string{origin, path, nextHop}, nlri: "21 0a0a0a0a0a", reset: "update error: invalid network field"},
		{name: "prefix overrun", attrs: []string{origin, path, nextHop}, nlri: "18 0a0a", reset: "update error: invalid network field"},
		{name: "withdrawn overrun", withdrawn: "18 0a0a", reset: "update error: invalid network field"},
		{name: "prefix length, ipv6", attrs: []string{"800f05 0002 01 8120", origin}, reset: "update error: invalid network field"},
		{name: "two MP_REACH", attrs: []string{reach6, reach6, origin, path}, reset: "update error: malformed attribute list"},
		{name: "two MP_UNREACH", attrs: []string{unreach6, unreach6}, reset: "update error: malformed attribute list"},
		{name: "MP_REACH next hop", attrs: []string{"800e0e 0002 01 04 c0000202 00 20 20010db9", origin, path}, reset: "update error: optional attribute error"},
		{name: "MP_REACH short", attrs: []string{"800e04 0002 01 10", origin, path}, reset: "update error: optional attribute error"},
		{name: "unknown well-known", attrs: []string{origin, path, nextHop, "406300"}, nlri: net10, reset: "update error: unrecognized well-known attribute"},
		{name: "error without routes", attrs: []string{"400101 03"}, reset: "update error: invalid origin"},
		{name: "cut off without routes", attrs: []string{"8004"}, reset: "update error: malformed attribute list"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options()
			if tt.opts != nil {
				o = *tt.opts
			}
			if tt.name == "too short" {
				if _, err := NewDecoder(o).Decode([]byte{0, 0, 0}, &Result{}); err == nil {
					t.Error("is taken")
				}
				return
			}
			var r Result
			eor, err := NewDecoder(o).Decode(update(t, tt.withdrawn, tt.attrs, tt.nlri), &r)
			if tt.reset != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.reset) {
					t.Fatalf("error %v, want %s", err, tt.reset)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if eor != tt.eor {
				t.Errorf("end of rib %v, want %v", eor, tt.eor)
			}
			if d := cmp.Diff(tt.want, r.Updates, cmpAddr); d != "" {
				t.Error(d)
			}
			got := ""
			if len(r.Diagnostics) > 0 {
				got = r.Diagnostics[0].String()
			}
			if got != tt.diag {
				t.Errorf("diagnostic %q, want %q", got, tt.diag)
			}
		})
	}
}

func TestDecodeLengthsThatContradict(t *testing.T) {
	for _, s := range []string{"0005 0000", "0000 0005", "ffff ffff", "0000 0001"} {
		if _, err := NewDecoder(options()).Decode(unhex(t, s), &Result{}); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
}

func TestAttributesAreShared(t *testing.T) {
	d := NewDecoder(options())
	d.cacheLimit = 4
	decode := func(b []byte) *route.Attrs {
		var r Result
		if _, err := d.Decode(b, &r); err != nil || len(r.Updates) != 1 {
			t.Fatal(err, r)
		}
		return r.Updates[0].Attrs
	}
	a := decode(update(t, "", []string{origin, path, nextHop}, net10))
	for i := range 40 { // many generations; what is used stays
		if b := decode(update(t, "", []string{origin, path, nextHop}, "08 0b")); a != b {
			t.Fatal("equal bytes gave two sets")
		}
		decode(update(t, "", []string{origin, path, nextHop, "800404 000000" + hex.EncodeToString([]byte{byte(i)})}, net10))
		if d.young.n+d.old.n > 2*d.cacheLimit {
			t.Fatal("the cache grows")
		}
	}
	if decode(update(t, "", []string{origin, path, reach6}, "")) == a {
		t.Error("another next hop, the same set")
	}
}

func TestEncodeRoundTrip(t *testing.T) {
	for _, four := range []bool{true, false} {
		e := Encoder{Options: Options{FourOctetAS: four, Families: route.Families()}, LocalAS: 4200000000,
			NextHop: map[route.Family]netip.Addr{route.IPv4: netip.MustParseAddr("192.0.2.1"), route.IPv6: netip.MustParseAddr("2001:db8::1")}}
		for _, f := range route.Families() {
			p := prefixes("198.51.100.64/28", "203.0.113.0/24", "192.0.2.0/25")
			if f == route.IPv6 {
				p = prefixes("2001:db8:1::/48", "2001:db8:2::/47", "2001:db8:4::/64")
			}
			comm := []route.Community{route.GracefulShutdown}
			large := []route.LargeCommunity{{4200000000, 1, 2}}
			msgs, err := e.Announce(nil, f, []route.Announcement{
				{Prefix: p[0]}, {Prefix: p[1], Prepend: 2, Communities: comm, Large: large}, {Prefix: p[2]}})
			if err != nil {
				t.Fatal(err)
			}
			msgs = e.Withdraw(msgs, f, p[:1])
			msgs = e.EndOfRIB(msgs, f)
			var r Result
			d := NewDecoder(e.Options)
			var eor route.Family
			for len(msgs) > 0 {
				_, n, err := ParseHeader(msgs, false)
				if err != nil {
					t.Fatal(err)
				}
				if eor, err = d.Decode(msgs[HeaderLen:n], &r); err != nil {
					t.Fatal(err)
				}
				msgs = msgs[n:]
			}
			as := e.LocalAS
			hop := e.NextHop[f]
			want := []route.Update{
				{Family: f, Announced: []netip.Prefix{p[0], p[2]}, Attrs: &route.Attrs{Path: route.SequencePath(as), NextHop: hop}},
				{Family: f, Announced: p[1:2], Attrs: &route.Attrs{Path: route.SequencePath(as, as, as), NextHop: hop, Communities: comm, Large: large}},
				{Family: f, Withdrawn: p[:1]},
			}
			if d := cmp.Diff(want, r.Updates, cmpAddr); d != "" || len(r.Diagnostics) > 0 || eor != f {
				t.Errorf("%v, four octets %v: %s %v, end of rib %v", f, four, d, r.Diagnostics, eor)
			}
		}
	}
}

func TestEncodePacksManyPrefixes(t *testing.T) {
	for _, f := range route.Families() {
		for _, ext := range []bool{false, true} {
			e := Encoder{Options: Options{FourOctetAS: true, Extended: ext, Families: route.Families()}, LocalAS: 65010,
				NextHop: map[route.Family]netip.Addr{route.IPv4: netip.MustParseAddr("192.0.2.1"), route.IPv6: netip.MustParseAddr("2001:db8::1")}}
			var list []route.Announcement
			for i := range 5000 {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
				if f == route.IPv6 {
					p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)}), 48)
				}
				list = append(list, route.Announcement{Prefix: p})
			}
			msgs, err := e.Announce(nil, f, list)
			if err != nil {
				t.Fatal(err)
			}
			d, total, messages := NewDecoder(e.Options), 0, 0
			for ; len(msgs) > 0; messages++ {
				_, n, err := ParseHeader(msgs, ext)
				if err != nil {
					t.Fatal(err)
				}
				var r Result
				if _, err := d.Decode(msgs[HeaderLen:n], &r); err != nil || len(r.Updates) != 1 {
					t.Fatal(err)
				}
				total, msgs = total+len(r.Updates[0].Announced), msgs[n:]
			}
			if total != len(list) || messages > 40000/e.Limit()+1 {
				t.Errorf("%v: %d prefixes in %d messages", f, total, messages)
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	e := Encoder{Options: options(), LocalAS: 65010, NextHop: map[route.Family]netip.Addr{route.IPv4: netip.MustParseAddr("192.0.2.1")}}
	if _, err := e.Announce(nil, route.IPv6, []route.Announcement{{Prefix: netip.MustParsePrefix("2001:db8::/32")}}); err == nil {
		t.Error("ipv6 without a next hop")
	}
	many := make([]route.Community, 1100)
	if _, err := e.Announce(nil, route.IPv4, []route.Announcement{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Communities: many}}); err == nil {
		t.Error("attributes longer than a message")
	}
}
