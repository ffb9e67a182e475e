package packet

import (
	"encoding/binary"
	"time"
)

// Size is the length of a control packet without authentication.
const Size = 24

// Port is where control packets of single hop sessions go (RFC 5881, section 4).
const Port = 3784

const version = 1

// Bits of the second octet, below the state.
const (
	bitPoll = 1 << (5 - iota)
	bitFinal
	bitControlPlaneIndependent
	bitAuthentication
	bitDemand
	bitMultipoint
)

// Control is a control packet (RFC 5880, section 4.1). Intervals are whole microseconds on the wire.
type Control struct {
	Diag                    Diag
	State                   State
	Poll, Final             bool
	ControlPlaneIndependent bool
	Demand                  bool
	Multiplier              uint8
	MyDiscriminator         uint32
	YourDiscriminator       uint32
	DesiredMinTx            time.Duration
	RequiredMinRx           time.Duration
	RequiredMinEchoRx       time.Duration
}

// Encode writes the packet.
func (c *Control) Encode() [Size]byte {
	var b [Size]byte
	b[0] = version<<5 | byte(c.Diag)&0x1f
	b[1] = byte(c.State)<<6 | flag(c.Poll, bitPoll) | flag(c.Final, bitFinal) |
		flag(c.ControlPlaneIndependent, bitControlPlaneIndependent) | flag(c.Demand, bitDemand)
	b[2], b[3] = c.Multiplier, Size
	binary.BigEndian.PutUint32(b[4:], c.MyDiscriminator)
	binary.BigEndian.PutUint32(b[8:], c.YourDiscriminator)
	binary.BigEndian.PutUint32(b[12:], micros(c.DesiredMinTx))
	binary.BigEndian.PutUint32(b[16:], micros(c.RequiredMinRx))
	binary.BigEndian.PutUint32(b[20:], micros(c.RequiredMinEchoRx))
	return b
}

// Decode reads a packet and judges what can be judged without knowing the session, in the order of RFC 5880, section
// 6.8.6. The packet counts only if the answer is Accepted.
func Decode(b []byte) (Control, Discard) {
	var c Control
	if len(b) < Size {
		return c, TooShort
	}
	length := int(b[3])
	authenticated := b[1]&bitAuthentication != 0
	switch {
	case b[0]>>5 != version:
		return c, BadVersion
	case length < Size, authenticated && length < Size+2:
		return c, TooShort
	case length > len(b):
		return c, BadLength
	case b[2] == 0:
		return c, ZeroMultiplier
	case b[1]&bitMultipoint != 0:
		return c, Multipoint
	}
	c = Control{
		Diag: Diag(b[0] & 0x1f), State: State(b[1] >> 6),
		Poll: b[1]&bitPoll != 0, Final: b[1]&bitFinal != 0,
		ControlPlaneIndependent: b[1]&bitControlPlaneIndependent != 0, Demand: b[1]&bitDemand != 0,
		Multiplier:        b[2],
		MyDiscriminator:   binary.BigEndian.Uint32(b[4:]),
		YourDiscriminator: binary.BigEndian.Uint32(b[8:]),
		DesiredMinTx:      interval(b[12:]),
		RequiredMinRx:     interval(b[16:]),
		RequiredMinEchoRx: interval(b[20:]),
	}
	switch {
	case c.MyDiscriminator == 0:
		return c, ZeroMyDiscriminator
	case c.YourDiscriminator == 0 && c.State != Down && c.State != AdminDown:
		return c, ZeroYourDiscriminator
	case authenticated:
		return c, Authenticated
	}
	return c, Accepted
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

func interval(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}

// micros is an interval on the wire. What does not fit, or is below a microsecond, is the nearest that does: 0 means
// something else than a short time.
func micros(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min(max(d/time.Microsecond, 1), 1<<32-1))
}
