package message

import (
	"net/netip"
	"time"
)

// ASTrans stands for an AS that does not fit two bytes (RFC 6793).
const ASTrans = 23456

const (
	paramCapabilities = 2
	paramExtended     = 255 // RFC 9072
)

// Open is the OPEN message. What is acceptable is for the state machine to say; here it is only read.
type Open struct {
	Version      uint8
	AS           uint32 // of the four-octet capability where there is one
	HoldTime     time.Duration
	RouterID     netip.Addr // four bytes, any value
	Capabilities Capabilities
}

// Type implements Message.
func (*Open) Type() Type { return TypeOpen }

// AppendTo implements Message.
func (o *Open) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(begin(dst, TypeOpen), 4)
	as := uint16(ASTrans)
	if o.AS <= 0xffff {
		as = uint16(o.AS)
	}
	dst = put16(put16(dst, as), uint16(o.HoldTime/time.Second))
	id := [4]byte{}
	if o.RouterID.Is4() {
		id = o.RouterID.As4()
	}
	dst = append(dst, id[:]...)

	caps := appendCapabilities(nil, &o.Capabilities, o.AS)
	switch n := len(caps); {
	case n == 0:
		dst = append(dst, 0)
	case n+2 <= 255:
		dst = append(append(dst, byte(n+2), paramCapabilities, byte(n)), caps...)
	default: // RFC 9072, section 2
		dst = put16(append(dst, 255, paramExtended), uint16(n+3))
		dst = append(put16(append(dst, paramCapabilities), uint16(n)), caps...)
	}
	return end(dst, start)
}

// ParseOpen reads the body of an OPEN. The error is a *NotificationError (RFC 4271, section 6.2).
func ParseOpen(body []byte) (*Open, error) {
	if len(body) < 10 {
		return nil, notify(CodeHeader, BadMessageLength, nil, "open body of %d bytes", len(body))
	}
	o := &Open{
		Version:  body[0],
		AS:       uint32(be16(body[1:])),
		HoldTime: time.Duration(be16(body[3:])) * time.Second,
		RouterID: netip.AddrFrom4([4]byte(body[5:9])),
	}
	if o.Version != 4 {
		return nil, notify(CodeOpen, UnsupportedVersion, []byte{0, 4}, "version %d, want 4", o.Version)
	}
	size, params, lenBytes := int(body[9]), body[10:], 1
	// RFC 9072, section 2: the type of the first parameter tells, the length before it should be 255 but any
	// non-zero one is to be taken.
	if size != 0 && len(params) >= 3 && params[0] == paramExtended {
		size, params, lenBytes = int(be16(params[1:])), params[3:], 2
	}
	if size != len(params) {
		return nil, notify(CodeOpen, 0, nil, "optional parameters of %d bytes, but %d follow", size, len(params))
	}
	for len(params) > 0 {
		if len(params) < 1+lenBytes {
			return nil, notify(CodeOpen, 0, nil, "optional parameter is cut off")
		}
		kind, n := params[0], int(params[1])
		if lenBytes == 2 {
			n = int(be16(params[1:]))
		}
		params = params[1+lenBytes:]
		if n > len(params) {
			return nil, notify(CodeOpen, 0, nil, "optional parameter runs over the end")
		}
		if kind != paramCapabilities {
			return nil, notify(CodeOpen, UnsupportedParameter, nil, "optional parameter of type %d", kind)
		}
		if err := parseCapabilities(o, params[:n]); err != nil {
			return nil, err
		}
		params = params[n:]
	}
	return o, nil
}
