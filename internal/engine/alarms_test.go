package engine

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothways/internal/flow"
	"bothways/internal/route"
)

func TestAlarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, site, Adopted{})
		f.flows = nil
		f.tell(Filled{1000, 262144})
		f.wantFlows("few connections")
		f.tell(Filled{useFrom, 262144})
		f.wantFlows("an address may be near its end", "use 1", "use 2", "use 3")
		f.tell(Filled{useFrom + 1, 262144})
		f.wantFlows("not again so soon")
		time.Sleep(useEvery)
		f.tell(Filled{240000, 262144})
		if len(f.flows) == 0 {
			t.Error("not looked at again")
		}
		f.tell(Filled{262144, 262144}, Filled{100, 262144})
		mark := flow.Mark{Family: route.IPv4, Link: 1, Value: 1, Mask: 0xff}
		use := flow.Usage{Address: netip.MustParseAddr("198.51.100.64"), Protocol: 6, Connections: 60000, Busiest: 100, Remote: netip.MustParseAddrPort("4.0.0.1:443")}
		f.tell(FlowsUsed{mark, []flow.Usage{use}})
		use.Busiest = flow.PortsPerAddress
		use.Connections = flow.PortsPerAddress
		f.tell(FlowsUsed{mark, []flow.Usage{use}})
		for _, want := range []string{
			"alarm conntrack: the table of connections is nearly full: 240000 of 262144",
			"alarm conntrack: the table of connections is full: 262144 of 262144; new connections are dropped",
			"alarm conntrack: the table of connections is fine: 100 of 262144",
			"alarm er/primary: 198.51.100.64 of the pool is nearly full by all its connections: 60000 of 64512 (tcp)",
			"alarm er/primary: 198.51.100.64 of the pool is full by its ports towards 4.0.0.1:443: 64512 of 64512 (tcp); more of them cannot be opened",
		} {
			if !strings.Contains(f.journal(), want) {
				t.Errorf("no event %q in\n%s", want, f.journal())
			}
		}
		defer func() {
			f.tell(Filled{50, 262144})
			if v := f.engine.Snapshot(); len(v.Use) != 0 || v.Flows.Count != 50 {
				t.Errorf("few connections, and %+v %+v", v.Use, v.Flows)
			}
			if want := "alarm er/primary: 198.51.100.64 of the pool is fine by its ports"; !strings.Contains(f.journal(), want) {
				t.Errorf("no event %q in\n%s", want, f.journal())
			}
			f.end()
		}()
		if v := f.engine.Snapshot(); len(v.Use) != 1 || v.Use[0].Link != "er/primary" || v.Flows.Count != 100 {
			t.Errorf("%+v %+v", v.Use, v.Flows)
		}
	})
}
