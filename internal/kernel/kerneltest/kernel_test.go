package kerneltest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

func TestCarrierLoss(t *testing.T) {
	ctx := context.Background()
	k := New(kstate.Interface{Index: 2, AdminUp: true, Carrier: true}, kstate.Interface{Index: 3, AdminUp: true, Carrier: true})
	const a, b, both, onlyA = kstate.NexthopFirst + 1, kstate.NexthopFirst + 2, kstate.GroupFirst + 1, kstate.GroupFirst + 2
	single := func(id kstate.NexthopID, dev int) kstate.Nexthop {
		return kstate.Nexthop{ID: id, Family: route.IPv4, Interface: dev, Gateway: netip.MustParseAddr("192.0.2.2")}
	}
	on := func(metric uint32, id kstate.NexthopID) kstate.Change {
		return kstate.PutRoute(kstate.Route{RouteKey: kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix("10.0.0.0/8"), Metric: metric}, Type: kstate.Unicast, Nexthop: id})
	}
	group := func(id kstate.NexthopID, members ...kstate.NexthopID) kstate.Change {
		n := kstate.Nexthop{ID: id}
		for _, m := range members {
			n.Members = append(n.Members, kstate.Member{ID: m, Weight: 1})
		}
		return kstate.PutNexthop(n)
	}
	changes := []kstate.Change{
		kstate.PutRule(kstate.Rule{Family: route.IPv4, Priority: kstate.PriorityTable, Table: kstate.Table, SuppressPrefixLength: -1}),
		kstate.PutNexthop(single(a, 2)), kstate.PutNexthop(single(b, 3)), group(both, a, b), group(onlyA, a), on(100, onlyA), on(101, both),
	}
	if f := k.Apply(ctx, changes); len(f) != 0 {
		t.Fatal(f)
	}
	k.SetCarrier(2, false)
	want := strings.Join([]string{
		"rule priority 10901 lookup 9800 proto 98",
		"nexthop id 1644167170 via 192.0.2.2 dev #3 proto 98",
		"nexthop id 1645215745 group 1644167170",
		"route 10.0.0.0/8 nhid 1645215745 table 9800 metric 101 proto 98", "",
	}, "\n")
	if got := k.String(); got != want {
		t.Errorf("after the loss:\n%s\nwant:\n%s", got, want)
	}
	f := k.Apply(ctx, []kstate.Change{kstate.PutNexthop(single(a, 2)), group(b, b), kstate.PutNexthop(single(both, 3)), on(5, onlyA), group(onlyA, a)})
	if len(f) != 5 || !errors.Is(f[0].Err, unix.ENETDOWN) {
		t.Errorf("refused: %v", f)
	}
	k.SetCarrier(2, true)
	if got := k.String(); got != want {
		t.Errorf("after the return:\n%s", got)
	}
	boom := errors.New("boom")
	k.Fail(func(c kstate.Change) error {
		if c.Route != nil {
			return boom
		}
		return nil
	})
	if f := k.Apply(ctx, changes); len(f) != 2 || !errors.Is(f[1].Err, boom) {
		t.Errorf("injected: %v", f)
	}
	k.FailReads(boom)
	if _, err := k.Nexthops(ctx); !errors.Is(err, boom) {
		t.Error(err)
	}
}
