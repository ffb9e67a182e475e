package flow

import (
	"cmp"
	"net/netip"
	"slices"
)

// PortsPerAddress is how many connections of one protocol an address can have to one remote address and port: what the
// kernel chooses source ports from, 1024 to 65535.
const PortsPerAddress = 64512

// Usage is how much of an address that connections are translated to is in use, by one protocol.
type Usage struct {
	Address  netip.Addr
	Protocol uint8
	// Connections are all; Busiest those to the one remote address and port that has most: beyond PortsPerAddress of
	// those no more can be opened.
	Connections, Busiest int
	Remote               netip.AddrPort
}

// Use counts the translated connections by address and protocol, the fullest first.
func Use(flows []Flow) []Usage {
	type address struct {
		a        netip.Addr
		protocol uint8
	}
	type remote struct {
		address
		to netip.AddrPort
	}
	all, each := map[address]int{}, map[remote]int{}
	for _, f := range flows {
		if f.Inbound || !f.Translated.IsValid() || f.Translated == f.Source.Addr() {
			continue
		}
		k := address{f.Translated, f.Protocol}
		all[k]++
		each[remote{k, f.Destination}]++
	}
	out := map[address]*Usage{}
	for k, n := range all {
		out[k] = &Usage{Address: k.a, Protocol: k.protocol, Connections: n}
	}
	for k, n := range each {
		if u := out[k.address]; n > u.Busiest || n == u.Busiest && k.to.Compare(u.Remote) < 0 {
			u.Busiest, u.Remote = n, k.to
		}
	}
	var list []Usage
	for _, u := range out {
		list = append(list, *u)
	}
	slices.SortFunc(list, func(a, b Usage) int {
		return cmp.Or(b.Busiest-a.Busiest, b.Connections-a.Connections, a.Address.Compare(b.Address), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list
}

// Level says how full something is.
type Level uint8

// Levels.
const (
	Fine Level = iota
	Near
	Full
)

func (l Level) String() string { return [...]string{"fine", "nearly full", "full"}[min(l, Full)] }

// LevelOf is the level of n of limit: near from nine tenths on, full from the last hundredth on, and back from either only
// below eight tenths, so that an alarm does not come and go.
func LevelOf(before Level, n, limit int) Level {
	switch {
	case limit <= 0:
		return Fine
	case n*100 >= limit*99:
		return Full
	case n*10 >= limit*9:
		return max(before, Near)
	case n*10 >= limit*8:
		return before
	}
	return Fine
}
