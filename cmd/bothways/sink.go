package main

import (
	"net/netip"

	"bothways/internal/engine"
	"bothways/internal/kernel/rtnl"
	"bothways/internal/kstate"
	"bothways/internal/linkwatch"
	"bothways/internal/reconcile"
)

// linkSink hands what the watchers see to the engine.
type linkSink struct{ tell func(engine.Event) }

func (s linkSink) Interfaces(all []kstate.Interface, gateways map[int][2]netip.Addr) {
	s.tell(interfacesEvent(all, gateways))
}

func interfacesEvent(all []kstate.Interface, gateways map[int][2]netip.Addr) engine.Interfaces {
	ev := engine.Interfaces{All: all, Gateways: map[int]engine.Gateways{}}
	for i, g := range gateways {
		ev.Gateways[i] = engine.Gateways{IPv4: g[0], IPv6: g[1]}
	}
	return ev
}

func (s linkSink) Carrier(index int, carrier bool) {
	s.tell(engine.CarrierChanged{Index: index, Carrier: carrier})
}

func (s linkSink) Neighbor(n kstate.Neighbor) {
	s.tell(engine.NeighborSeen{Index: n.Interface, Address: n.Address, State: n.State})
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

// kernelEvent sorts the kernel's events: facts about links go to the engine, everything else is a hint.
func kernelEvent(e rtnl.Event, sink linkSink, w *linkwatch.Watcher, r *reconcile.Reconciler) {
	switch e.Kind {
	case rtnl.InterfaceChanged:
		if !e.Deleted {
			sink.Carrier(e.Interface.Index, e.Interface.Carrier)
		}
		w.Reread()
	case rtnl.AddressesChanged:
		w.Reread()
	case rtnl.NeighborChanged:
		sink.Neighbor(e.Neighbor)
	case rtnl.RouteChanged, rtnl.NexthopChanged, rtnl.RuleChanged:
		r.Hint()
	case rtnl.Lost:
		w.Reread()
		r.Hint()
	}
}
