package message

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bothways/internal/route"
)

// body checks the header of one whole message and returns what follows it.
func body(t *testing.T, msg []byte, want Type) []byte {
	t.Helper()
	typ, n, err := ParseHeader(msg, true)
	if err != nil || typ != want || n != len(msg) {
		t.Fatalf("header: type %v length %d of %d, error %v; want %v", typ, n, len(msg), err, want)
	}
	return msg[HeaderLen:]
}

func code(err error) (Code, Subcode) {
	var e *NotificationError
	if !errors.As(err, &e) {
		return 0, 0
	}
	return e.Notification.Code, e.Notification.Subcode
}

func TestHeader(t *testing.T) {
	head := func(n int, t Type) []byte {
		b := begin(nil, t)
		b[16], b[17] = byte(n>>8), byte(n)
		return b
	}
	broken := head(19, TypeKeepalive)
	broken[3] = 0
	for _, tt := range []struct {
		name     string
		b        []byte
		extended bool
		code     Code
		sub      Subcode
	}{
		{"keepalive", head(19, TypeKeepalive), false, 0, 0},
		{"marker", broken, false, CodeHeader, NotSynchronized},
		{"short", head(18, TypeKeepalive), false, CodeHeader, BadMessageLength},
		{"keepalive with a body", head(20, TypeKeepalive), true, CodeHeader, BadMessageLength},
		{"long update", head(4097, TypeUpdate), false, CodeHeader, BadMessageLength},
		{"long update, extended", head(4097, TypeUpdate), true, 0, 0},
		{"longest update", head(65535, TypeUpdate), true, 0, 0},
		{"long open, extended", head(4097, TypeOpen), true, CodeHeader, BadMessageLength},
		{"short open", head(28, TypeOpen), false, CodeHeader, BadMessageLength},
		{"short notification", head(20, TypeNotification), false, CodeHeader, BadMessageLength},
		{"unknown type", head(19, 9), false, CodeHeader, BadMessageType},
		{"nothing", nil, false, CodeHeader, BadMessageLength},
	} {
		_, _, err := ParseHeader(tt.b, tt.extended)
		if c, s := code(err); c != tt.code || s != tt.sub {
			t.Errorf("%s: %d/%d, want %d/%d (%v)", tt.name, c, s, tt.code, tt.sub, err)
		}
	}
}

func fullOpen() *Open {
	return &Open{Version: 4, AS: 4200000000, HoldTime: 90 * time.Second, RouterID: netip.MustParseAddr("203.0.113.1"),
		Capabilities: Capabilities{
			Families: route.Families(), RouteRefresh: true, EnhancedRefresh: true, Extended: true, FourOctetAS: true,
			HasRole: true, Role: RoleCustomer,
			Graceful: &GracefulRestart{Restarting: true, Notification: true, Time: 120 * time.Second,
				Families: []GracefulFamily{{route.IPv4, true}, {route.IPv6, false}}},
			Unknown: []RawCapability{{Code: 73, Value: []byte("host")}},
		}}
}

func TestOpenRoundTrip(t *testing.T) {
	o := fullOpen()
	got, err := ParseOpen(body(t, o.AppendTo(nil), TypeOpen))
	if err != nil {
		t.Fatal(err)
	}
	o.Capabilities.Multiprotocol = true
	if d := cmp.Diff(o, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Error(d)
	}
}

func TestOpenExtendedParameters(t *testing.T) {
	o := fullOpen()
	o.Capabilities.Unknown = []RawCapability{{200, make([]byte, 200)}, {201, make([]byte, 250)}}
	got, err := ParseOpen(body(t, o.AppendTo(nil), TypeOpen))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Capabilities.Unknown) != 2 || got.AS != o.AS {
		t.Errorf("got %+v", got)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		sub       Subcode
		text      string
	}{
		{"version", "03 fde9 005a cb007101 00", UnsupportedVersion, "version 3, want 4"},
		{"parameter", "04 fde9 005a cb007101 02 0100", UnsupportedParameter, "type 1"},
		{"length", "04 fde9 005a cb007101 03 0200", 0, "3 bytes, but 2 follow"},
		{"overrun", "04 fde9 005a cb007101 02 0205", 0, "runs over"},
		{"capability overrun", "04 fde9 005a cb007101 04 02024104", 0, "runs over"},
		{"AS of two bytes", "04 fde9 005a cb007101 06 0204 4102 fde9", 0, "capability of 2 bytes"},
		{"two roles", "04 fde9 005a cb007101 08 0206 090100 090103", RoleMismatch, "provider and customer"},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseOpen(b)
		if c, s := code(err); c != CodeOpen || s != tt.sub || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestOpenWithoutCapabilities(t *testing.T) {
	b, _ := hex.DecodeString("04fde9005acb00710100")
	o, err := ParseOpen(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]route.Family{route.IPv4}, o.Capabilities.Speaks()); d != "" || o.AS != 65001 {
		t.Errorf("AS %d, families %s", o.AS, d)
	}
}

func TestRouteRefresh(t *testing.T) {
	for _, s := range []RefreshSubtype{RefreshRequest, RefreshBegin, RefreshEnd} {
		m := &RouteRefresh{Family: route.IPv6, Subtype: s}
		got, err := ParseRouteRefresh(body(t, m.AppendTo(nil), TypeRouteRefresh))
		if err != nil || *got != *m {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if r, err := ParseRouteRefresh([]byte{0, 1, 0, 128}); err != nil || r.Family != 0 {
		t.Errorf("a family that is not ours: %+v, %v", r, err)
	}
	if _, err := ParseRouteRefresh([]byte{0, 1, 0, 1, 1, 2}); err == nil {
		t.Error("a body of 6 bytes is taken")
	}
}

func TestNotificationText(t *testing.T) {
	for _, tt := range []struct {
		n    *Notification
		want string
	}{
		{Cease(AdministrativeShutdown, ""), "cease: administrative shutdown"},
		{Cease(AdministrativeShutdown, "back at 3"), `cease: administrative shutdown "back at 3"`},
		{Cease(MaximumPrefixes, "not sent"), "cease: maximum number of prefixes reached"},
		{Cease(AdministrativeReset, "x").Hard(), `cease: hard reset (cease: administrative reset "x")`},
		{&Notification{Code: CodeHold}, "hold timer expired"},
		{&Notification{Code: CodeOpen, Subcode: BadPeerAS}, "open error: bad peer AS"},
		{&Notification{Code: CodeOpen, Subcode: 99}, "open error: subcode 99"},
		{&Notification{Code: 77}, "error 77"},
		{&Notification{Code: CodeCease, Subcode: 2, Data: []byte{200, 'x'}}, "cease: administrative shutdown"},
		{&Notification{Code: CodeCease, Subcode: 9, Data: []byte{6, 9, 6, 9}}, "cease: hard reset"},
	} {
		got, err := ParseNotification(body(t, tt.n.AppendTo(nil), TypeNotification))
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestCommunicationIsBoundedUTF8(t *testing.T) {
	for _, text := range []string{strings.Repeat("ü", 200), strings.Repeat("€", 100), "a\x00b\xffc\n", strings.Repeat("x", 300)} {
		n := Cease(AdministrativeShutdown, text)
		got := n.Communication()
		if len(n.Data) > 256 || len(n.Data) != 1+int(n.Data[0]) || !utf8.ValidString(got) || got == "" {
			t.Errorf("%q became %q in %d bytes", text, got, len(n.Data))
		}
		if strings.ContainsAny(got, "\x00\n") {
			t.Errorf("control characters in %q", got)
		}
	}
}
