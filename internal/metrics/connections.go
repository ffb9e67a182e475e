package metrics

import (
	"bothways/internal/engine"
	"bothways/internal/flow"
	"bothways/internal/kstate"
	"bothways/internal/nat"
	"bothways/internal/route"
)

var (
	conntrack      = gauge("conntrack_entries", "Connections in the kernel's table, everybody's.")
	conntrackLimit = gauge("conntrack_entries_limit", "How many there can be (net.netfilter.nf_conntrack_max).")
	conntrackLevel = gauge("conntrack_level", "How full that is: 0 fine, 1 nearly full, 2 full: new connections are dropped.")
	staying        = gauge("connections_staying", "Connections that stay on the link while new ones to the same addresses take another, at the last survey.", "link", "family")
	stranded       = gauge("connections_stranded", "Connections with addresses of the link, which is dead or has no route for them, and nowhere else to go, at the last survey.", "link", "family")
	unanswered     = gauge("connections_unanswered", "Connections from inside by the link that nobody had answered, at the last survey.", "link", "family")
	surveyed       = gauge("connections_surveyed_timestamp_seconds", "When the connections of the link were looked at last: after each change of links, and every 30 s while some stay or are stranded.", "link", "family")

	poolConnections = gauge("pool_connections", "Connections that have the fullest address of the link's pools, by protocol. Known from 16,128 connections on.", "link", "family", "protocol")
	poolBusiest     = gauge("pool_busiest_ports", "The most ports that an address of the link's pools has in use towards one remote address and port.", "link", "family", "protocol")
	poolLimit       = gauge("pool_ports_limit", "How many ports an address has towards one remote address and port.")
	poolLevel       = gauge("pool_level", "How full the fullest address is by either: 0 fine, 1 nearly full, 2 full.", "link", "family", "protocol")

	asymmetry = counter("asymmetry_packets_total", "Packets by another path than their connection's: asymmetry (replies to the site), asymmetry_out (the site's own replies), astray (requests for an address of another path). Since the table of rules was written.", "kind", "connection", "by")
	related   = counter("related_packets_total", "ICMP errors by another path than that of the connection that they are about, which is no asymmetry.", "connection", "by")
	ike       = counter("circuit_ike_packets_total", "IKE packets that left by a circuit: a VPN that the circuit's prefixes capture.", "path")
	guards    = counter("guard_packets_total", "Packets that a guard dropped, or counted where the site only observes.", "guard")
	unmarked  = counter("unmarked_packets_total", "Packets of connections that were there before the edge, and are left alone.")
)

func connectionMetrics() []metric {
	return []metric{conntrack, conntrackLimit, conntrackLevel, staying, stranded, unanswered, surveyed,
		poolConnections, poolBusiest, poolLimit, poolLevel, asymmetry, related, ike, guards, unmarked}
}

func (o out) connections(s *engine.Snapshot) {
	o.count(conntrack, s.Flows.Count)
	o.count(conntrackLimit, s.Flows.Limit)
	o.count(conntrackLevel, int(s.Flows.Level))
	for _, l := range s.Links {
		for _, f := range l.Families {
			at := []string{l.Name, f.Family.String()}
			o.count(staying, f.Astray.Staying, at...)
			o.count(stranded, f.Astray.Stranded, at...)
			if !f.Surveyed.IsZero() {
				o.count(unanswered, f.Unanswered, at...)
				o.at(surveyed, f.Surveyed, at...)
			}
		}
	}
	o.put(poolLimit, flow.PortsPerAddress)
	o.pools(s.Use)
}

// pools shows the fullest address of each link by protocol: addresses themselves are no labels.
func (o out) pools(use []engine.UseView) {
	type key struct{ link, family, protocol string }
	fullest := map[key]engine.UseView{}
	for _, u := range use {
		k := key{u.Link, route.FamilyOf(u.Address).String(), u.Protocol}
		f := fullest[k]
		f.Connections, f.Busiest, f.Level = max(f.Connections, u.Connections), max(f.Busiest, u.Busiest), max(f.Level, u.Level)
		fullest[k] = f
	}
	for k, f := range fullest {
		o.count(poolConnections, f.Connections, k.link, k.family, k.protocol)
		o.count(poolBusiest, f.Busiest, k.link, k.family, k.protocol)
		o.count(poolLevel, int(f.Level), k.link, k.family, k.protocol)
	}
}

func (o out) counters(all map[string]kstate.Counter) {
	for name, c := range all {
		n := float64(c.Packets)
		if x, ok := nat.ParseCrossing(name); ok {
			o.put(asymmetry, n, string(x.Kind), x.Connection, x.By)
		} else if connection, by, ok := nat.ParseRelated(name); ok {
			o.put(related, n, connection, by)
		} else if path, ok := nat.ParseVPN(name); ok {
			o.put(ike, n, path)
		} else if guard, ok := nat.GuardOf(name); ok {
			o.put(guards, n, guard)
		} else if name == nat.Unmarked {
			o.put(unmarked, n)
		}
	}
}
