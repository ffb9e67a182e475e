package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
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
