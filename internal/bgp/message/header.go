package message

import (
	"encoding/binary"
	"fmt"
)

// Lengths of messages in bytes, header included (RFC 4271, section 4.1; RFC 8654).
const (
	HeaderLen      = 19
	MaxLen         = 4096
	MaxExtendedLen = 65535
)

// Type is the type of a message.
type Type uint8

// Message types.
const (
	TypeOpen         Type = 1
	TypeUpdate       Type = 2
	TypeNotification Type = 3
	TypeKeepalive    Type = 4
	TypeRouteRefresh Type = 5
)

func (t Type) String() string {
	switch t {
	case TypeOpen:
		return "open"
	case TypeUpdate:
		return "update"
	case TypeNotification:
		return "notification"
	case TypeKeepalive:
		return "keepalive"
	case TypeRouteRefresh:
		return "route-refresh"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Message is any message but UPDATE, which has its own decoder and encoder.
type Message interface {
	Type() Type
	// AppendTo appends the whole message, header included.
	AppendTo(dst []byte) []byte
}

// ParseHeader reads the first HeaderLen bytes of b and returns the message's type and its whole length. With extended
// the limit is that of RFC 8654. The error is a *NotificationError (RFC 4271, section 6.1).
func ParseHeader(b []byte, extended bool) (Type, int, error) {
	if len(b) < HeaderLen {
		return 0, 0, notify(CodeHeader, BadMessageLength, nil, "header of %d bytes", len(b))
	}
	if binary.BigEndian.Uint64(b) != ^uint64(0) || binary.BigEndian.Uint64(b[8:]) != ^uint64(0) {
		return 0, 0, notify(CodeHeader, NotSynchronized, nil, "marker is not all ones")
	}
	n, t := int(binary.BigEndian.Uint16(b[16:])), Type(b[18])
	low, high := HeaderLen, MaxLen
	if extended {
		high = MaxExtendedLen
	}
	switch t {
	case TypeOpen:
		low, high = 29, MaxLen // RFC 8654, section 4: never extended, also not in a re-sent OPEN
	case TypeUpdate:
		low = 23
	case TypeNotification:
		low = 21
	case TypeKeepalive:
		high = HeaderLen
	case TypeRouteRefresh:
		low = 23
	default:
		return 0, 0, notify(CodeHeader, BadMessageType, []byte{byte(t)}, "unknown message type %d", uint8(t))
	}
	if n < low || n > high {
		return 0, 0, notify(CodeHeader, BadMessageLength, []byte{b[16], b[17]}, "%s of %d bytes", t, n)
	}
	return t, n, nil
}

// Parse reads the body of any message but UPDATE. The error is a *NotificationError.
func Parse(t Type, body []byte) (Message, error) {
	switch t {
	case TypeOpen:
		return ParseOpen(body)
	case TypeNotification:
		return ParseNotification(body)
	case TypeKeepalive:
		return Keepalive{}, nil
	case TypeRouteRefresh:
		return ParseRouteRefresh(body)
	}
	return nil, notify(CodeHeader, BadMessageType, []byte{byte(t)}, "unknown message type %d", uint8(t))
}

// begin appends a header whose length end fills in.
func begin(dst []byte, t Type) []byte {
	dst = append(dst, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	return append(dst, 0, 0, byte(t))
}

// end writes the length of the message that begins at start.
func end(dst []byte, start int) []byte {
	binary.BigEndian.PutUint16(dst[start+16:], uint16(len(dst)-start))
	return dst
}

// Keepalive is the KEEPALIVE message.
type Keepalive struct{}

// Type implements Message.
func (Keepalive) Type() Type { return TypeKeepalive }

// AppendTo implements Message.
func (Keepalive) AppendTo(dst []byte) []byte { return end(begin(dst, TypeKeepalive), len(dst)) }
