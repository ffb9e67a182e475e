package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
	"bothways/internal/lab/farside"
)

func asymmetry(t *testing.T, w *lab.World) v1.Asymmetry {
	t.Helper()
	var a v1.Asymmetry
	if err := w.Show(within(t), "asymmetry", &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestPoolAnnouncedOnBothPaths builds the provider's case B: the pool of ISP A is announced on the circuit too, and the
// provider answers there what it was asked by the Internet. check would refuse it but for shared: true.
func TestPoolAnnouncedOnBothPaths(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edgeWith(t, w, func(c string) string {
		return strings.Replace(c, `announce: ["198.51.100.64/28"`, "shared: true\n    announce: [\"203.0.113.0/24\", \"198.51.100.64/28\"", 1)
	})
	settled(t, w)
	gateway := address(t, w, "vpn-gateway", false)
	eventually(t, func(ctx context.Context) error {
		// The connection works all the same: nothing here drops what comes back by another path.
		if _, err := w.Ask(ctx, "client", gateway); err != nil {
			return err
		}
		a := asymmetry(t, w)
		for _, p := range a.Pairs {
			if p.Connection == "isp-a" && p.Reply == "expressroute" && p.Packets > 0 && p.Case == "B" &&
				len(p.Remotes) == 1 && p.Remotes[0] == gateway.String() {
				return nil
			}
		}
		return fmt.Errorf("not seen: %+v", a)
	})
	eventually(t, func(ctx context.Context) error {
		var events []v1.Event
		if err := w.Show(ctx, "events", &events); err != nil {
			return err
		}
		for _, e := range events {
			if e.Kind == "asymmetry" && strings.Contains(e.Text, "replies came by expressroute: case B") {
				return nil
			}
		}
		return fmt.Errorf("no event tells of it: %+v", events)
	})
}

// TestOneWayConnections has a host of the cloud fall silent.
func TestOneWayConnections(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	edge(t, w)
	if err := w.Fail(within(t), "host:storage", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		one, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := w.AskUDP(one, "client", address(t, w, "storage", false)); err == nil {
			return errors.New("a silent host answers")
		}
		seen := asymmetry(t, w)
		for _, o := range seen.OneWay {
			if o.Path == "expressroute" && o.Unanswered >= 5 && o.Destination == "20.60.72.0/22" {
				return nil
			}
		}
		return fmt.Errorf("requests without an answer are not seen: %+v", seen)
	})
}

// TestErrorByAnotherPath has ISP A's router tell the client that a port of a service, to which the connection went by the
// circuit, cannot be reached: the client hears it, and it is no asymmetry.
func TestErrorByAnotherPath(t *testing.T) {
	t.Parallel()
	need(t, "ip", "iproute2")
	w := raise(t, nil)
	edge(t, w)
	inRouter(t, w, "isp-a", "ip", "route", "add", "198.51.100.64/28", "via", "198.18.1.2")
	storage, own := address(t, w, "storage", false), address(t, w, "client", false)
	var c net.Conn
	err := w.Exec("client", func() (err error) {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: own.AsSlice()}}
		c, err = d.DialContext(within(t), "udp4", netip.AddrPortFrom(storage, farside.LinePort).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("?\n")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	var seen lab.Answer
	if err := json.Unmarshal(buf[:n], &seen); err != nil || !strings.HasPrefix(seen.Via, "circuit/") {
		t.Fatalf("the connection goes by %q (%v)", seen.Via, err)
	}
	// The packet that the error is about is as it left the edge; its port did not change, since nobody else had it.
	port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	inner := ipv4.Header{Version: 4, Len: 20, TotalLen: 30, TTL: 60, Protocol: 17, Src: seen.SeenAs.AsSlice(), Dst: storage.AsSlice()}
	quoted, err := inner.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	quoted = append(quoted, byte(port>>8), byte(port), 0, farside.LinePort, 0, 10, 0, 0)
	data, err := (&icmp.Message{Type: ipv4.ICMPTypeDestinationUnreachable, Code: 3, Body: &icmp.DstUnreach{Data: quoted}}).Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Exec("isp-a", func() error {
		p, err := net.ListenPacket("ip4:icmp", "198.18.1.1")
		if err != nil {
			return err
		}
		defer p.Close()
		_, err = p.WriteTo(data, &net.IPAddr{IP: seen.SeenAs.AsSlice()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(buf); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the client hears %v of the error, want that the connection is refused", err)
	}
	a := asymmetry(t, w)
	if len(a.Pairs) != 0 {
		t.Errorf("an ICMP error counts as asymmetry: %+v", a.Pairs)
	}
	if want := []v1.RelatedPair{{Connection: "expressroute", Error: "isp-a", Packets: 1}}; !slices.Equal(a.Related, want) {
		t.Errorf("errors by another path: %+v, want %+v", a.Related, want)
	}
}
