package rtnl

import (
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"
)

// native is the byte order of netlink: the machine's.
var native = binary.NativeEndian

const (
	headerLen = unix.SizeofNlMsghdr
	typeMask  = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

var errShort = errors.New("netlink message is cut short")

// writer builds netlink messages one behind the other in one buffer.
type writer struct {
	b     []byte
	start int // of the message being built
}

func (w *writer) reset() { w.b = w.b[:0] }

// begin starts a message whose fixed part is fixed, a multiple of four bytes.
func (w *writer) begin(typ, flags uint16, seq uint32, fixed ...byte) {
	w.start = len(w.b)
	w.b = native.AppendUint32(w.b, 0)
	w.b = native.AppendUint16(w.b, typ)
	w.b = native.AppendUint16(w.b, flags|unix.NLM_F_REQUEST)
	w.b = native.AppendUint32(w.b, seq)
	w.b = native.AppendUint32(w.b, 0)
	w.b = append(w.b, fixed...)
}

func (w *writer) end() { native.PutUint32(w.b[w.start:], uint32(len(w.b)-w.start)) }

// ack asks for an acknowledgement of the message being built.
func (w *writer) ack() {
	flags := native.Uint16(w.b[w.start+6:])
	native.PutUint16(w.b[w.start+6:], flags|unix.NLM_F_ACK)
}

func (w *writer) attr(typ uint16, n int) {
	w.b = native.AppendUint16(w.b, uint16(4+n))
	w.b = native.AppendUint16(w.b, typ)
}

func (w *writer) u32(typ uint16, v uint32) {
	w.attr(typ, 4)
	w.b = native.AppendUint32(w.b, v)
}

func (w *writer) u8(typ uint16, v uint8) {
	w.attr(typ, 1)
	w.b = append(w.b, v, 0, 0, 0)
}

// name writes a string with the zero that ends it.
func (w *writer) name(typ uint16, s string) {
	w.attr(typ, len(s)+1)
	w.b = append(append(w.b, s...), 0)
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *writer) addr(typ uint16, a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		w.attr(typ, 4)
		w.b = append(w.b, b[:]...)
		return
	}
	b := a.As16()
	w.attr(typ, 16)
	w.b = append(w.b, b[:]...)
}

// header is a netlink message's header.
type header struct {
	typ, flags uint16
	seq, pid   uint32
}

// messages yields the messages in a datagram; the payloads point into it.
func messages(b []byte) iter.Seq2[header, []byte] {
	return func(yield func(header, []byte) bool) {
		for len(b) >= headerLen {
			n := int(native.Uint32(b))
			if n < headerLen || n > len(b) {
				return
			}
			h := header{native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), native.Uint32(b[12:])}
			if !yield(h, b[headerLen:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// attributes yields the attributes behind the fixed part of a message.
func attributes(b []byte, fixed int) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		if len(b) < fixed {
			return
		}
		b = b[fixed:]
		for len(b) >= 4 {
			n := int(native.Uint16(b))
			if n < 4 || n > len(b) {
				return
			}
			if !yield(native.Uint16(b[2:])&typeMask, b[4:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// number reads an attribute of one to four bytes; others give zero.
func number(b []byte) uint32 {
	switch len(b) {
	case 1:
		return uint32(b[0])
	case 2:
		return uint32(native.Uint16(b))
	case 4:
		return native.Uint32(b)
	}
	return 0
}

func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
