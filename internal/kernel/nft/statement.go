package nft

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// part translates one part of a rule. Each case makes what nft makes of the part's text.
func (t *translation) part(p kstate.Part) error {
	switch p := p.(type) {
	case kstate.MatchInterface:
		return t.interfaces(p)
	case kstate.MatchFamily:
		return t.matchFamily(p.Family)
	case kstate.MatchAddress:
		return t.address(p)
	case kstate.MatchProtocol:
		return t.protocols(p.Not, p.Protocols...)
	case kstate.MatchPort:
		return t.port(p)
	case kstate.MatchState:
		return t.state(p)
	case kstate.MatchReply:
		direction := byte(1)
		if p.Original {
			direction = 0
		}
		t.emit(&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg})
		t.cmp(false, []byte{direction})
	case kstate.MatchTranslated:
		t.status(p.Not, map[bool]uint32{true: statusSNAT, false: statusDNAT}[p.Source])
	case kstate.MatchFirst:
		t.status(true, statusConfirmed)
	case kstate.MatchImpossibleSource:
		return t.impossibleSource()
	case kstate.MatchMark:
		t.mark(p)
	case kstate.MatchDSCP:
		return t.dscp(p)
	case kstate.MatchEcho:
		return t.echo(p)
	case kstate.MatchSYN:
		return t.syn()
	case kstate.Count:
		if p.Name == "" {
			t.emit(&expr.Counter{})
		} else {
			t.emit(&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: p.Name})
		}
	case kstate.Verdict:
		v, err := t.verdict(p)
		if err != nil {
			return err
		}
		t.emit(v)
	case kstate.VerdictByInterface:
		t.loadName(p.Direction)
		return t.verdictMap(kstate.Ifname, p.Map, p.Elements)
	case kstate.VerdictByMark:
		t.loadMark(p.Of)
		t.mask(4, native32(p.Mask), nil)
		return t.verdictMap(kstate.MarkKey, p.Map, p.Elements)
	case kstate.NoTrack:
		t.emit(&expr.Notrack{})
	case kstate.SetMark:
		return t.setMark(p)
	case kstate.ClampMSS:
		const maxseg, offset = 2, 2
		t.emit(&expr.Rt{Register: reg, Key: expr.RtTCPMSS},
			&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 2, Size: 2},
			&expr.Exthdr{SourceRegister: reg, Type: maxseg, Offset: offset, Len: 2, Op: expr.ExthdrOpTcpopt})
	case kstate.SetPriority:
		t.emit(&expr.Immediate{Register: reg, Data: native32(uint32(p.Major)<<16 | uint32(p.Minor))},
			&expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: reg})
	case kstate.AddToSet:
		return t.addToSet(p)
	case kstate.SNAT, kstate.SNATPrefix, kstate.DNAT, kstate.DNATPrefix, kstate.Masquerade:
		return t.nat(p)
	default:
		return fmt.Errorf("%T is not known here", p)
	}
	return nil
}

func (t *translation) verdictMap(key kstate.KeyType, name string, verdicts []kstate.VerdictElement) error {
	s := t.sets[name]
	if name == "" {
		elements, err := t.verdictElements(key, verdicts)
		if err != nil {
			return err
		}
		if len(elements) == 0 {
			return errors.New("maps nothing")
		}
		s = &set{flags: unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT | unix.NFT_SET_MAP, key: keyType(key), value: nftables.TypeVerdict, elements: elements}
		if err := t.put(s); err != nil {
			return err
		}
	}
	if s == nil || !s.is(unix.NFT_SET_MAP) || !s.verdicts() || s.key.Name != keyType(key).Name {
		return fmt.Errorf("no map from %s to verdicts %q", key, name)
	}
	t.emit(&expr.Lookup{SourceRegister: reg, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: s.name, SetID: s.id})
	return nil
}

func (t *translation) setMark(s kstate.SetMark) error {
	if s.Mask == 0 {
		t.emit(&expr.Immediate{Register: reg, Data: native32(s.Value)})
	} else {
		if s.Value&^s.Mask != 0 {
			return fmt.Errorf("value %#x has bits outside of the mask %#x", s.Value, s.Mask)
		}
		t.loadMark(s.Of)
		t.mask(4, native32(^s.Mask), native32(s.Value))
	}
	if s.Of == kstate.PacketMark {
		t.emit(&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg})
	} else {
		t.emit(&expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: reg})
	}
	return nil
}

func (t *translation) addToSet(a kstate.AddToSet) error {
	s := t.sets[a.Set]
	if s == nil || !s.is(unix.NFT_SET_EVAL) {
		return fmt.Errorf("no dynamic set %q", a.Set)
	}
	if err := t.matchFamily(a.Family); err != nil {
		return err
	}
	n, offset := uint32(4), [...]uint32{12, 16}[min(a.End, kstate.Destination)]
	if a.Family == route.IPv6 {
		n, offset = 16, [...]uint32{8, 24}[min(a.End, kstate.Destination)]
	}
	t.emit(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n},
		&expr.Dynset{SrcRegKey: reg, SetName: s.name, SetID: s.id, Operation: unix.NFT_DYNSET_OP_UPDATE})
	return nil
}

// nat translates the statements that translate addresses.
func (t *translation) nat(p kstate.Part) error {
	n := &expr.NAT{Type: expr.NATTypeSourceNAT}
	var from, to netip.Addr
	switch p := p.(type) {
	case kstate.Masquerade:
		t.emit(&expr.Masq{Persistent: p.Persistent})
		return nil
	case kstate.SNAT:
		from, to, n.Persistent = p.From, p.To, p.Persistent
	case kstate.SNATPrefix:
		from, to, n.Prefix = p.To.Addr(), kstate.LastAddr(p.To), true
	case kstate.DNATPrefix:
		n.Type = expr.NATTypeDestNAT
		from, to, n.Prefix = p.To.Addr(), kstate.LastAddr(p.To), true
	case kstate.DNAT:
		n.Type = expr.NATTypeDestNAT
		from = p.To
		if p.Port != 0 {
			if t.protocol != kstate.TCP && t.protocol != kstate.UDP {
				return errors.New("a port without a match of TCP or UDP before")
			}
			n.RegProtoMin, n.Specified = reg2, true
			t.emit(&expr.Immediate{Register: reg2, Data: be16(p.Port)})
		}
	}
	if !from.IsValid() || to.IsValid() && (from.Is4() != to.Is4() || to.Less(from)) {
		return fmt.Errorf("addresses from %s to %s", from, to)
	}
	n.Family = unix.NFPROTO_IPV6
	if from.Is4() {
		n.Family = unix.NFPROTO_IPV4
	}
	n.RegAddrMin = reg
	t.emit(&expr.Immediate{Register: reg, Data: from.AsSlice()})
	if to.IsValid() && to != from {
		n.RegAddrMax = reg2
		t.emit(&expr.Immediate{Register: reg2, Data: to.AsSlice()})
	}
	t.emit(n)
	return nil
}
