package packet

import (
	"testing"
	"time"
)

func good() Control {
	return Control{Diag: NeighborSignaledDown, State: Up, Poll: true, Multiplier: 3, MyDiscriminator: 0x01020304,
		YourDiscriminator: 0x05060708, DesiredMinTx: 300 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond}
}

func TestEncode(t *testing.T) {
	c := good()
	want := [Size]byte{
		0x23, 0xe0, 3, 24, // version 1, diagnostic 3; Up, P
		1, 2, 3, 4, 5, 6, 7, 8,
		0, 4, 0x93, 0xe0, // 300,000 µs
		0, 0, 0xc3, 0x50, // 50,000 µs
		0, 0, 0, 0,
	}
	if got := c.Encode(); got != want {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestFlagsGoThereAndBack(t *testing.T) {
	for i := range 1 << 4 {
		for _, s := range []State{AdminDown, Down, Init, Up} {
			c := good()
			c.State = s
			c.Poll, c.Final, c.ControlPlaneIndependent, c.Demand = i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0
			b := c.Encode()
			if got, why := Decode(b[:]); why != Accepted || got != c {
				t.Errorf("%+v: %+v %v", c, got, why)
			}
		}
	}
}

func TestIntervalsFit(t *testing.T) {
	for _, tt := range []struct{ d, want time.Duration }{
		{0, 0}, {-time.Second, 0}, {1, time.Microsecond}, {time.Microsecond, time.Microsecond},
		{1500, time.Microsecond}, {2 * time.Hour, (1<<32 - 1) * time.Microsecond},
	} {
		c := good()
		c.DesiredMinTx = tt.d
		b := c.Encode()
		if got, _ := Decode(b[:]); got.DesiredMinTx != tt.want {
			t.Errorf("%v: %v, want %v", tt.d, got.DesiredMinTx, tt.want)
		}
	}
}

// TestDecodeJudges has a row for each rule of RFC 5880, section 6.8.6, that needs no session.
func TestDecodeJudges(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte
		want   Discard
	}{
		{"good", func(b []byte) []byte { return b }, Accepted},
		{"empty", func([]byte) []byte { return nil }, TooShort},
		{"23 octets", func(b []byte) []byte { return b[:23] }, TooShort},
		{"version 0", func(b []byte) []byte { b[0] &= 0x1f; return b }, BadVersion},
		{"version 2", func(b []byte) []byte { b[0] = 2 << 5; return b }, BadVersion},
		{"length 23", func(b []byte) []byte { b[3] = 23; return b }, TooShort},
		{"length of authentication too short", func(b []byte) []byte { b[1] |= bitAuthentication; b[3] = 25; return append(b, 0, 0) }, TooShort},
		{"length over the datagram", func(b []byte) []byte { b[3] = 25; return b }, BadLength},
		{"more in the datagram than the length", func(b []byte) []byte { return append(b, 1, 2, 3) }, Accepted},
		{"multiplier 0", func(b []byte) []byte { b[2] = 0; return b }, ZeroMultiplier},
		{"multipoint", func(b []byte) []byte { b[1] |= bitMultipoint; return b }, Multipoint},
		{"my discriminator 0", func(b []byte) []byte { clear(b[4:8]); return b }, ZeroMyDiscriminator},
		{"your discriminator 0, Up", func(b []byte) []byte { clear(b[8:12]); return b }, ZeroYourDiscriminator},
		{"your discriminator 0, Init", func(b []byte) []byte { clear(b[8:12]); b[1] = byte(Init) << 6; return b }, ZeroYourDiscriminator},
		{"your discriminator 0, Down", func(b []byte) []byte { clear(b[8:12]); b[1] = byte(Down) << 6; return b }, Accepted},
		{"your discriminator 0, AdminDown", func(b []byte) []byte { clear(b[8:12]); b[1] = byte(AdminDown) << 6; return b }, Accepted},
		{"authenticated", func(b []byte) []byte { b[1] |= bitAuthentication; b[3] = 26; return append(b, 1, 2) }, Authenticated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			b := c.Encode()
			if _, got := Decode(tt.change(b[:])); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestDiscardsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for d := range Discards {
		if s := d.String(); seen[s] || s[0] == 'D' {
			t.Errorf("%d: %q", d, s)
		} else {
			seen[s] = true
		}
	}
}

func FuzzDecode(f *testing.F) {
	c := good()
	b := c.Encode()
	f.Add(b[:])
	f.Add(append(b[:], 0))
	f.Add([]byte{0x20, 0x44, 3, 26, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2}) // authenticated
	f.Fuzz(func(t *testing.T, b []byte) {
		c, why := Decode(b)
		if why != Accepted {
			return
		}
		if c.Multiplier == 0 || c.MyDiscriminator == 0 || c.YourDiscriminator == 0 && c.State > Down {
			t.Fatalf("accepted %+v", c)
		}
		again := c.Encode()
		if d, why := Decode(again[:]); why != Accepted || d != c {
			t.Fatalf("%+v came back as %+v, %v", c, d, why)
		}
	})
}
