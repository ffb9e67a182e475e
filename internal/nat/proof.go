package nat

import (
	"net/netip"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// Proof is an address that a link gives to connections, and that this machine proves replies to come back to. Its token is
// the source port, or the identifier of the echo, of what asks: from the link's own address, with the link's mark.
type Proof struct {
	Address netip.Addr
	Token   uint16
}

// own matches what this machine sends by a link on its own account: with the link's mark and address, which nothing that is
// forwarded has.
func (b *builder) own(l Link) [][]kstate.Part {
	var out [][]kstate.Part
	for _, a := range l.Addresses {
		out = append(out, []kstate.Part{
			kstate.MatchMark{Of: kstate.PacketMark, Mask: b.p.Mask, Value: b.mark(l.Number)},
			kstate.MatchAddress{End: kstate.Source, Prefixes: []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}},
		})
	}
	return out
}

// unclaimed leaves probes and proofs without the mark of a connection: they are no traffic of the site, to be moved, cut or
// judged.
func (b *builder) unclaimed(l Link) []kstate.NftRule {
	var out []kstate.NftRule
	for _, parts := range b.own(l) {
		out = append(out, rule(append(parts, kstate.Verdict{Kind: kstate.Return})...))
	}
	return out
}

// proven sends what may be a proof to the chain that translates it.
func (b *builder) proven(l Link) []kstate.NftRule {
	var out []kstate.NftRule
	for _, parts := range b.own(l) {
		if len(l.Proofs) > 0 {
			out = append(out, rule(append(parts, kstate.GotoChain(chain("proof", l)))...))
		}
	}
	return out
}

// proofChain gives each proof the address that it stands for: a socket cannot be bound to it.
func proofChain(l Link) []kstate.NftChain {
	if len(l.Proofs) == 0 {
		return nil
	}
	c := kstate.NftChain{Name: chain("proof", l)}
	for _, p := range l.Proofs {
		f := route.FamilyOf(p.Address)
		as := kstate.SNAT{From: p.Address}
		c.Rules = append(c.Rules, rule(kstate.MatchEcho{Family: f, ID: p.Token}, as),
			rule(kstate.MatchFamily{Family: f}, kstate.MatchPort{Protocol: kstate.TCP, End: kstate.Source, Ports: []uint16{p.Token}}, as))
	}
	return []kstate.NftChain{c}
}
