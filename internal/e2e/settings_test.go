package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"bothways/internal/lab"
)

// TestSettingOfAFormerInsideInterface: an interface that leaves the inside while no daemon runs gets accept_local back; one that never was
// inside keeps what others set.
func TestSettingOfAFormerInsideInterface(t *testing.T) {
	t.Parallel()
	w := raise(t, nil)
	acceptLocal := func(name string) string {
		t.Helper()
		out, err := inEdge(w, "cat", "/proc/sys/net/ipv4/conf/"+name+"/accept_local")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	if _, err := inEdge(w, "ip", "link", "add", "former", "up", "type", "veth", "peer", "name", "foreign"); err != nil {
		t.Fatal(err)
	}
	if _, err := inEdge(w, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/foreign/accept_local"); err != nil {
		t.Fatal(err)
	}
	own, err := w.EdgeConfig()
	if err != nil {
		t.Fatal(err)
	}
	both := strings.Replace(own, "  interfaces: [", "  interfaces: [former, ", 1)
	for _, restart := range []func() error{
		func() error {
			if err := w.StopEdge(); err != nil {
				return err
			}
			return w.StartEdge(within(t), lab.EdgeOptions{Binary: binary, Config: own})
		},
		func() error {
			_, err := w.RestartEdge(within(t), own)
			return err
		},
	} {
		if err := w.StartEdge(within(t), lab.EdgeOptions{Binary: binary, Config: both}); err != nil {
			t.Fatal(err)
		}
		settled(t, w)
		if v := acceptLocal("former"); v != "1" {
			t.Fatalf("inside, accept_local is %s", v)
		}
		if err := restart(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func(context.Context) error {
			if v := acceptLocal("former"); v != "0" {
				return fmt.Errorf("no longer inside, accept_local is %s", v)
			}
			return nil
		})
		if v := acceptLocal("foreign"); v != "1" {
			t.Errorf("never inside, accept_local is %s", v)
		}
		if err := w.StopEdge(); err != nil {
			t.Fatal(err)
		}
	}
}
