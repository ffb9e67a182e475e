package main

import (
	"net/netip"
	"time"

	"bothways/internal/engine"
	"bothways/internal/flow"
	"bothways/internal/kernel/rtnl"
	"bothways/internal/kstate"
	"bothways/internal/linkwatch"
	"bothways/internal/reconcile"
	"bothways/internal/route"
)

// linkSink hands what the watchers see to the engine.
type linkSink struct {
	tell func(engine.Event)
	d    *daemon
}

func (s linkSink) Interfaces(at time.Time, all []kstate.Interface, gateways map[int][2]linkwatch.Gateway) {
	ev := interfacesEvent(at, all, gateways)
	ev.Seen = s.d.watcher.Seen()
	s.tell(ev)
}

func interfacesEvent(at time.Time, all []kstate.Interface, gateways map[int][2]linkwatch.Gateway) engine.Interfaces {
	ev := engine.Interfaces{At: at, All: all, Gateways: map[int]engine.Gateways{}}
	for i, g := range gateways {
		ev.Gateways[i] = engine.Gateways{engine.Gateway(g[0]), engine.Gateway(g[1])}
	}
	return ev
}

func (s linkSink) Carrier(index int, carrier bool, at time.Time) {
	s.tell(engine.CarrierChanged{Index: index, Carrier: carrier, At: at, Seen: s.d.watcher.SeenOf(index)})
}

func (s linkSink) Neighbor(n kstate.Neighbor, at time.Time) {
	ev := engine.NeighborSeen{Index: n.Interface, Address: n.Address, State: n.State, At: at}
	if n.Confirmed >= 0 {
		ev.Confirmed = at.Add(-n.Confirmed)
	}
	s.tell(ev)
}

func (s linkSink) Pinned(a netip.Addr, index int) {
	s.tell(engine.PinRouted{Address: a, Index: index})
}

// watchSet hands the engine's wishes to the watchers.
type watchSet struct{ w *linkwatch.Watcher }

func (s watchSet) Set(links []engine.Watched) {
	var out []linkwatch.Watched
	for _, l := range links {
		out = append(out, linkwatch.Watched{Index: l.Index, Neighbors: l.Neighbors, Automatic: l.Automatic})
	}
	s.w.Set(out)
}

func (s watchSet) Pin(addresses []netip.Addr) { s.w.Pin(addresses) }

// kernelEvent sorts the kernel's events: facts about links go to the engine, everything else is a hint.
func kernelEvent(e rtnl.Event, sink linkSink, w *linkwatch.Watcher, r *reconcile.Reconciler) {
	at := time.Now()
	switch e.Kind {
	case rtnl.InterfaceChanged:
		if !e.Deleted {
			sink.Carrier(e.Interface.Index, e.Interface.Carrier, at)
		}
		w.Reread()
	case rtnl.AddressesChanged:
		w.Reread()
	case rtnl.NeighborChanged:
		sink.Neighbor(e.Neighbor, at)
	case rtnl.RouteChanged, rtnl.NexthopChanged, rtnl.RuleChanged:
		r.Hint()
	case rtnl.Lost:
		w.Reread()
		r.Hint()
	}
}

// flowSink hands what became of connections to the engine.
type flowSink struct{ d *daemon }

func (s flowSink) Listed(m flow.Mark, flows []flow.Flow, more bool) {
	s.d.tell(engine.FlowsListed{Mark: m, Flows: flows, More: more})
}

func (s flowSink) Used(m flow.Mark, use []flow.Usage) {
	s.d.tell(engine.FlowsUsed{Mark: m, Use: use})
}

func (s flowSink) Sampled(flows []flow.Flow) { s.d.tell(engine.FlowsSampled{Flows: flows}) }

func (s flowSink) Deleted(l route.Link, f route.Family, n int) {
	if n > 0 {
		s.d.tell(engine.FlowsCut{Mark: flow.Mark{Link: l, Family: f}, Count: n, At: time.Now()})
	}
}
