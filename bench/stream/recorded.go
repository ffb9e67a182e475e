package stream

import (
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"

	"bothways/internal/bgp/message"
	"bothways/internal/route"
)

// Recorded reads the IPv4 UPDATEs of an MRT file (RFC 6396, section 4.4, with four-octet AS numbers) as one neighbor
// would send them: its number in front of each path, its next hop. What it cannot read is left out.
func Recorded(file string, neighbor uint32, nextHop netip.Addr) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var b []byte
	d := message.NewDecoder(message.Options{Families: []route.Family{route.IPv4}, FourOctetAS: true})
	for len(data) >= 12 {
		kind, sub, n := binary.BigEndian.Uint16(data[4:]), binary.BigEndian.Uint16(data[6:]), int(binary.BigEndian.Uint32(data[8:]))
		if len(data) < 12+n {
			return nil, fmt.Errorf("%s: a record is cut off", file)
		}
		rec := data[12 : 12+n]
		data = data[12+n:]
		if kind != 16 || sub != 4 { // BGP4MP_MESSAGE_AS4
			continue
		}
		size := 4
		if binary.BigEndian.Uint16(rec[10:]) == 2 {
			size = 16
		}
		rec = rec[12+2*size:]
		if t, size, err := message.ParseHeader(rec, false); err != nil || t != message.TypeUpdate || size != len(rec) {
			continue
		}
		var r message.Result
		if end, err := d.Decode(rec[message.HeaderLen:], &r); err != nil || end != 0 {
			continue
		}
		for _, u := range r.Updates {
			b = appendReplayed(b, u, neighbor, nextHop)
		}
	}
	return b, nil
}

func appendReplayed(out []byte, u route.Update, neighbor uint32, nextHop netip.Addr) []byte {
	var gone, come, attrs []byte
	for _, p := range u.Withdrawn {
		gone = appendNLRI(gone, p)
	}
	if len(u.Announced) > 0 {
		s := Set{Path: []uint32{neighbor}}
		for _, seg := range u.Attrs.Path {
			if seg.Kind == route.Set {
				s.PathSet = append(s.PathSet, seg.ASNs...)
			} else {
				s.Path = append(s.Path, seg.ASNs...)
			}
		}
		for _, c := range u.Attrs.Communities {
			s.Communities = append(s.Communities, uint32(c))
		}
		attrs = s.attributes(nextHop)
		for _, p := range u.Announced {
			come = appendNLRI(come, p)
		}
	}
	out = appendHeader(out, 4+len(gone)+len(attrs)+len(come), 2)
	out = append(binary.BigEndian.AppendUint16(out, uint16(len(gone))), gone...)
	out = append(binary.BigEndian.AppendUint16(out, uint16(len(attrs))), attrs...)
	return append(out, come...)
}
