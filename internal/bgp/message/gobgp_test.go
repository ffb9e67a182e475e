package message

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"bothways/internal/route"
)

// said is what an UPDATE says, in a form that two implementations can be compared in: one line for each prefix.
type said []string

// ours prints what our decoder made of an UPDATE.
func ours(r *Result) said {
	var out said
	for _, u := range r.Updates {
		for _, p := range u.Withdrawn {
			out = append(out, "-"+p.String())
		}
		for _, p := range u.Announced {
			a := u.Attrs
			med := "-"
			if a.HasMED {
				med = fmt.Sprint(a.MED)
			}
			out = append(out, fmt.Sprintf("+%s origin %d path %s via %s med %s communities %v large %v",
				p, a.Origin, a.Path, a.NextHop, med, a.Communities, a.Large))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// theirs prints what GoBGP made of it.
func theirs(u *bgp.BGPUpdate) said {
	var origin uint8
	var path route.ASPath
	med := "-"
	var comms []route.Community
	var large []route.LargeCommunity
	var hop4, hop6 netip.Addr
	type nlri struct {
		f route.Family
		p netip.Prefix
	}
	var announced, withdrawn []nlri
	add := func(to *[]nlri, list []bgp.PathNLRI) {
		for _, n := range list {
			if p, ok := n.NLRI.(*bgp.IPAddrPrefix); ok {
				*to = append(*to, nlri{route.FamilyOf(p.Prefix.Addr()), p.Prefix.Masked()})
			}
		}
	}
	add(&announced, u.NLRI)
	add(&withdrawn, u.WithdrawnRoutes)
	plain := len(announced)
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *bgp.PathAttributeOrigin:
			origin = a.Value
		case *bgp.PathAttributeAsPath:
			for _, s := range a.Value {
				path = append(path, route.Segment{Kind: route.SegmentKind(s.GetType()), ASNs: s.GetAS()})
			}
		case *bgp.PathAttributeNextHop:
			hop4 = a.Value
		case *bgp.PathAttributeMultiExitDisc:
			med = fmt.Sprint(a.Value)
		case *bgp.PathAttributeCommunities:
			for _, c := range a.Value {
				comms = append(comms, route.Community(c))
			}
		case *bgp.PathAttributeLargeCommunities:
			for _, c := range a.Values {
				large = append(large, route.LargeCommunity{c.ASN, c.LocalData1, c.LocalData2})
			}
		case *bgp.PathAttributeMpReachNLRI:
			if a.SAFI == bgp.SAFI_UNICAST {
				hop6 = a.Nexthop
				add(&announced, a.Value)
			}
		case *bgp.PathAttributeMpUnreachNLRI:
			if a.SAFI == bgp.SAFI_UNICAST {
				add(&withdrawn, a.Value)
			}
		}
	}
	var out said
	come := map[nlri]bool{}
	for i, n := range announced {
		come[n] = true
		hop := hop6
		if i < plain {
			hop = hop4
		}
		out = append(out, fmt.Sprintf("+%s origin %d path %s via %s med %s communities %v large %v", n.p, origin, path, hop, med, comms, large))
	}
	for _, n := range withdrawn {
		if !come[n] {
			out = append(out, "-"+n.p.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// both decodes a body with both implementations. It reports false where one of them refuses the message or finds
// something to mend, for there they may differ.
func both(body []byte, four bool) (a, b said, ok bool) {
	var r Result
	d := NewDecoder(Options{FourOctetAS: four, Families: route.Families()})
	if _, err := d.Decode(body, &r); err != nil || len(r.Diagnostics) > 0 {
		return nil, nil, false
	}
	u := &bgp.BGPUpdate{}
	if err := u.DecodeFromBytes(body, &bgp.MarshallingOption{Use2ByteAS: !four}); err != nil {
		return nil, nil, false
	}
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *bgp.PathAttributeAs4Path: // merged by us, left to the caller by GoBGP
			return nil, nil, false
		case *bgp.PathAttributeAsPath:
			// GoBGP guesses the width of AS numbers from the bytes, whatever was agreed on.
			for _, s := range a.Value {
				if _, wide := s.(*bgp.As4PathParam); wide != four {
					return nil, nil, false
				}
			}
		}
	}
	return ours(&r), theirs(u), true
}

// mrtUpdates calls f with every UPDATE of an MRT file of BGP4MP records (RFC 6396, section 4.4).
func mrtUpdates(t testing.TB, name string, f func(body []byte, four bool)) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) >= 12 {
		kind, sub, n := be16(data[4:]), be16(data[6:]), int(be32(data[8:]))
		rec := data[12 : 12+n]
		data = data[12+n:]
		width := 0
		switch {
		case kind == 16 && sub == 1: // BGP4MP_MESSAGE
			width = 2
		case kind == 16 && sub == 4: // BGP4MP_MESSAGE_AS4
			width = 4
		default:
			continue
		}
		rec = rec[2*width+2:]
		size := 4
		if be16(rec) == 2 {
			size = 16
		}
		msg := rec[2+2*size:]
		if typ, _, err := ParseHeader(msg, true); err == nil && typ == TypeUpdate {
			f(msg[HeaderLen:], width == 4)
		}
	}
}

func TestMRTAsGoBGP(t *testing.T) {
	total, compared, prefixes := 0, 0, 0
	mrtUpdates(t, "testdata/updates.20160811.1600.gz", func(body []byte, four bool) {
		total++
		a, b, ok := both(body, four)
		if !ok {
			return
		}
		compared++
		prefixes += len(a)
		if !slices.Equal(a, b) {
			t.Fatalf("%x\nours   %s\ntheirs %s", body, strings.Join(a, "\n       "), strings.Join(b, "\n       "))
		}
	})
	if total < 10000 || compared < total*99/100 {
		t.Errorf("%d of %d UPDATEs compared, %d prefixes", compared, total, prefixes)
	}
	t.Logf("%d of %d UPDATEs compared, %d prefixes", compared, total, prefixes)
}

// seeds gives a fuzz target some real UPDATEs and all of the tables.
func seeds(f *testing.F, add func(body []byte, four bool)) {
	n := 0
	mrtUpdates(f, "testdata/updates.20160811.1600.gz", func(body []byte, four bool) {
		if n++; n%500 == 0 {
			add(bytes.Clone(body), four)
		}
	})
	for _, attrs := range [][]string{{origin, path, nextHop}, {reach6, origin, path}, {unreach6}, {unreach6, origin, path, reach6},
		{origin, path2, nextHop, "c01106 0201 fa56ea00"}, {origin, path, nextHop, "c0200c 0000fbf4 00000001 00000002", "c02304 00002f2c"}} {
		add(update(f, net10, attrs, "08 0b"), true)
		add(update(f, "", attrs, ""), false)
	}
}

func FuzzDecodeAsGoBGP(f *testing.F) {
	seeds(f, func(body []byte, four bool) { f.Add(body, four) })
	f.Fuzz(func(t *testing.T, body []byte, four bool) {
		if len(body) > MaxLen {
			return
		}
		if a, b, ok := both(body, four); ok && !slices.Equal(a, b) {
			t.Errorf("ours   %s\ntheirs %s", strings.Join(a, "\n       "), strings.Join(b, "\n       "))
		}
	})
}

// FuzzDecode looks at what must hold whatever comes.
func FuzzDecode(f *testing.F) {
	seeds(f, func(body []byte, four bool) { f.Add(body, four, true, true) })
	f.Fuzz(func(t *testing.T, body []byte, four, v4, v6 bool) {
		o := Options{FourOctetAS: four}
		if v4 {
			o.Families = append(o.Families, route.IPv4)
		}
		if v6 {
			o.Families = append(o.Families, route.IPv6)
		}
		d := NewDecoder(o)
		var r, again Result
		eor, err := d.Decode(body, &r)
		if eor2, err2 := d.Decode(body, &again); eor != eor2 || (err == nil) != (err2 == nil) || fmt.Sprint(ours(&r)) != fmt.Sprint(ours(&again)) {
			t.Fatal("the second time is not as the first")
		}
		if err != nil {
			if c, _ := code(err); c != CodeUpdate {
				t.Errorf("error %v of code %v", err, c)
			}
			return
		}
		for i, u := range r.Updates {
			if (u.Attrs == nil) != (len(u.Announced) == 0) {
				t.Errorf("%d announced with attributes %v", len(u.Announced), u.Attrs)
			}
			if u.Attrs != nil && (u.Attrs != again.Updates[i].Attrs || !u.Attrs.NextHop.IsValid()) {
				t.Errorf("attributes are not shared, or without a next hop: %+v", u.Attrs)
			}
			for _, p := range append(slices.Clone(u.Announced), u.Withdrawn...) {
				if !p.IsValid() || p != p.Masked() || p.Addr().Is4() != (u.Family == route.IPv4) {
					t.Errorf("prefix %v in %v", p, u.Family)
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(byte(TypeOpen), fullOpen().AppendTo(nil)[HeaderLen:])
	f.Add(byte(TypeNotification), Cease(AdministrativeShutdown, "bye").Hard().AppendTo(nil)[HeaderLen:])
	f.Add(byte(TypeRouteRefresh), []byte{0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, typ byte, body []byte) {
		if len(body) > MaxLen-HeaderLen {
			return
		}
		m, err := Parse(Type(typ), body)
		if err != nil {
			return
		}
		b := m.AppendTo(nil)
		if _, n, err := ParseHeader(b, false); err != nil || n != len(b) {
			t.Fatalf("%T is written as %x: %v", m, b, err)
		}
		again, err := Parse(Type(typ), b[HeaderLen:])
		if err != nil || fmt.Sprintf("%+v", again) == "" {
			t.Fatalf("%T is not read again: %v", m, err)
		}
		if n, ok := m.(*Notification); ok && strings.ContainsRune(n.String(), 0) {
			t.Error("unprintable text")
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add(Keepalive{}.AppendTo(nil), false)
	f.Fuzz(func(t *testing.T, b []byte, extended bool) {
		if _, n, err := ParseHeader(b, extended); err == nil && (n < HeaderLen || n != int(binary.BigEndian.Uint16(b[16:]))) {
			t.Errorf("length %d", n)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var bodies [][]byte
	size := 0
	mrtUpdates(b, "testdata/updates.20160811.1600.gz", func(body []byte, four bool) {
		if four {
			bodies = append(bodies, bytes.Clone(body))
			size += len(body)
		}
	})
	d := NewDecoder(options())
	b.Run("real", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(size / len(bodies)))
		r := Result{}
		for i := range b.N {
			if i%64 == 0 {
				r = Result{Updates: make([]route.Update, 0, 64)}
			}
			d.Decode(bodies[i%len(bodies)], &r)
		}
	})
	b.Run("new sets", func(b *testing.B) {
		body := update(b, "", []string{origin, "400216 0205 00002f2c00002f2d00002f2e00002f2f00002f30", nextHop}, strings.Repeat(net10, 4))
		at := bytes.Index(body, []byte{0, 0, 0x2f, 0x30})
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		var d *Decoder
		r := Result{}
		for i := range b.N {
			if i%60_000 == 0 { // as many as a full table has
				d = NewDecoder(options())
			}
			if i%64 == 0 {
				r = Result{Updates: make([]route.Update, 0, 64)}
			}
			binary.BigEndian.PutUint32(body[at:], uint32(i%60_000)+1)
			d.Decode(body, &r)
		}
	})
	for _, n := range []int{1, 4, 300} {
		b.Run(fmt.Sprintf("%d prefixes", n), func(b *testing.B) {
			nlri := strings.Repeat(net10, n)
			body := update(b, "", []string{origin, "400216 0205 00002f2c00002f2d00002f2e00002f2f00002f30", nextHop, "800404 00000007", "c0080c 2f2cc738 2f2cc739 ffffff01"}, nlri)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			r := Result{}
			for i := range b.N {
				if i%64 == 0 {
					r = Result{Updates: make([]route.Update, 0, 64)}
				}
				d.Decode(body, &r)
			}
		})
	}
}
