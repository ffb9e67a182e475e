package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
)

// insideSite has a network behind a router inside.
var insideSite = strings.NewReplacer("networks: [10.20.0.0/16]", "networks: [10.20.0.0/16, 10.30.0.0/16], routes: {10.30.0.0/16: 10.20.0.2}",
	"{10.20.0.0/16: 198.51.100.64/28}", "{10.20.0.0/16: 198.51.100.64/28, 10.30.0.0/16: 198.51.100.64/28}",
	"{10.20.0.0/16: interface}", "{10.20.0.0/16: interface, 10.30.0.0/16: interface}").Replace(site)

// TestCarrierLossInside: what the kernel takes with an inside interface that goes is written again, also where the interface is back
// before all are listed.
func TestCarrierLossInside(t *testing.T) {
	again := allUp()
	again.All[0].Index = 9
	for name, events := range map[string][]Event{
		"down and up":   {CarrierChanged{Index: 1}, CarrierChanged{Index: 1, Carrier: true}, allUp()},
		"another index": {again},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, insideSite, Adopted{})
				defer f.end()
				n := len(f.batches)
				f.together(events...)
				if b := f.batches[n:]; len(b) == 0 || !slices.Equal(b[0].Lost, []int{1}) {
					t.Errorf("nothing is lost: %+v", b)
				}
				if _, ok := f.routes[kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix("10.30.0.0/16"), Metric: kstate.MetricRanking}]; !ok {
					t.Error("the network is not wanted")
				}
			})
		})
	}
}

// TestInsideWithoutCarrier: the way to a network inside goes with the carrier, and comes back with it.
func TestInsideWithoutCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, insideSite, Adopted{})
		defer f.end()
		for _, carrier := range []bool{false, true} {
			f.tell(CarrierChanged{Index: 1, Carrier: carrier})
			wanted := slices.ContainsFunc(f.last().Objects.Nexthops, func(n kstate.Nexthop) bool { return n.Interface == 1 })
			if wanted != carrier {
				t.Errorf("carrier %v, and the router inside is wanted: %v", carrier, wanted)
			}
		}
	})
}
