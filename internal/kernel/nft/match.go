package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// reg is the register that matches work in; 16 bytes wide. reg2 is the next.
const (
	reg  = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
)

// translation turns one rule's parts into expressions.
type translation struct {
	*builder
	exprs    []expr.Any
	family   route.Family      // that the rule has matched so far
	protocol kstate.L4Protocol // likewise
}

func (t *translation) emit(e ...expr.Any) { t.exprs = append(t.exprs, e...) }

func cmpOp(not bool) expr.CmpOp {
	if not {
		return expr.CmpOpNeq
	}
	return expr.CmpOpEq
}

func (t *translation) cmp(not bool, data []byte) {
	t.emit(&expr.Cmp{Op: cmpOp(not), Register: reg, Data: data})
}

func (t *translation) mask(n int, mask, xor []byte) {
	if xor == nil {
		xor = make([]byte, n)
	}
	t.emit(&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(n), Mask: mask, Xor: xor})
}

// member matches the register against a set by name.
func (t *translation) member(not bool, name string) error {
	s := t.sets[name]
	if s == nil || s.is(unix.NFT_SET_MAP) {
		return fmt.Errorf("no set %q", name)
	}
	t.lookup(not, s)
	return nil
}

func (t *translation) lookup(not bool, s *set) {
	t.emit(&expr.Lookup{SourceRegister: reg, SetName: s.name, SetID: s.id, Invert: not})
}

// anonymous matches the register against an anonymous set.
func (t *translation) anonymous(not bool, typ nftables.SetDatatype, flags uint32, elements []element) error {
	if len(elements) == 0 {
		return errors.New("matches nothing")
	}
	s := &set{flags: unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT | flags, key: typ, elements: elements}
	if err := t.put(s); err != nil {
		return err
	}
	t.lookup(not, s)
	return nil
}

// anyOf matches the register against elements: one by comparison, several by an anonymous set.
func (t *translation) anyOf(not bool, typ nftables.SetDatatype, elements []element) error {
	if len(elements) == 1 {
		t.cmp(not, elements[0].key)
		return nil
	}
	return t.anonymous(not, typ, 0, elements)
}

func (t *translation) loadName(d kstate.Direction) {
	key := expr.MetaKeyIIFNAME
	if d == kstate.Out {
		key = expr.MetaKeyOIFNAME
	}
	t.emit(&expr.Meta{Key: key, Register: reg})
}

func (t *translation) loadMark(of kstate.MarkOf) {
	if of == kstate.PacketMark {
		t.emit(&expr.Meta{Key: expr.MetaKeyMARK, Register: reg})
		return
	}
	t.emit(&expr.Ct{Key: expr.CtKeyMARK, Register: reg})
}

func (t *translation) interfaces(m kstate.MatchInterface) error {
	t.loadName(m.Direction)
	if m.Set != "" {
		return t.member(m.Not, m.Set)
	}
	elements, err := nameElements(m.Names)
	if err != nil {
		return err
	}
	return t.anyOf(m.Not, nftables.TypeIFName, elements)
}

// matchFamily matches the family, once in a rule.
func (t *translation) matchFamily(f route.Family) error {
	if t.family == f {
		return nil
	}
	number := byte(unix.NFPROTO_IPV4)
	switch f {
	case route.IPv4:
	case route.IPv6:
		number = unix.NFPROTO_IPV6
	default:
		return errors.New("no family")
	}
	t.family = f
	t.emit(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg})
	t.cmp(false, []byte{number})
	return nil
}

func (t *translation) address(m kstate.MatchAddress) error {
	family := m.FamilyOf()
	shorten, err := t.loadAddress(m)
	if err != nil {
		return err
	}
	if m.Set != "" {
		return t.member(m.Not, m.Set)
	}
	if len(m.Prefixes) == 1 {
		p := m.Prefixes[0]
		if !p.IsValid() || p != p.Masked() {
			return fmt.Errorf("prefix %s is not masked", p)
		}
		if p.Bits()%8 == 0 && p.Bits() > 0 {
			// nft compares whole bytes without a mask; so what it lists is the prefix again.
			n := p.Bits() / 8
			shorten(n)
			t.cmp(m.Not, p.Addr().AsSlice()[:n])
			return nil
		}
		n := p.Addr().BitLen() / 8
		mask := make([]byte, n)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		t.mask(n, mask, nil)
		t.cmp(m.Not, p.Addr().AsSlice())
		return nil
	}
	typ := nftables.TypeIPAddr
	if family == route.IPv6 {
		typ = nftables.TypeIP6Addr
	}
	elements, err := intervals(m.Prefixes, family)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(m.Prefixes, func(p netip.Prefix) bool { return !p.IsSingleIP() }) {
		return t.anonymous(m.Not, typ, unix.NFT_SET_INTERVAL, elements)
	}
	// Single addresses need no intervals.
	elements = nil
	for _, p := range m.Prefixes {
		elements = append(elements, element{key: p.Addr().AsSlice()})
	}
	return t.anonymous(m.Not, typ, 0, elements)
}

func (t *translation) protocols(not bool, protocols ...kstate.L4Protocol) error {
	if len(protocols) == 1 && !not {
		if t.protocol == protocols[0] {
			return nil
		}
		t.protocol = protocols[0]
	}
	var elements []element
	for _, p := range protocols {
		elements = append(elements, element{key: []byte{byte(p)}})
	}
	t.emit(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg})
	return t.anyOf(not, nftables.TypeInetProto, elements)
}

func (t *translation) port(m kstate.MatchPort) error {
	if m.Protocol != kstate.AnyProtocol {
		if err := t.protocols(false, m.Protocol); err != nil {
			return err
		}
	}
	var elements []element
	for _, p := range m.Ports {
		elements = append(elements, element{key: be16(p)})
	}
	t.emit(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: [...]uint32{0, 2}[min(m.End, kstate.Destination)], Len: 2})
	return t.anyOf(m.Not, nftables.TypeInetService, elements)
}

// bits matches when one of the bits is set in the register, or with not when none is.
func (t *translation) bits(not bool, bits uint32) {
	t.mask(4, native32(bits), nil)
	t.cmp(!not, native32(0))
}

func (t *translation) state(m kstate.MatchState) error {
	t.emit(&expr.Ct{Key: expr.CtKeySTATE, Register: reg})
	if m.Not {
		// A packet has one state, so nft compares; listed, it is the same text.
		if m.States == 0 || m.States&(m.States-1) != 0 {
			return errors.New("negated, it wants exactly one state")
		}
		t.cmp(true, native32(uint32(m.States)))
		return nil
	}
	t.bits(false, uint32(m.States))
	return nil
}

func (t *translation) mark(m kstate.MatchMark) {
	t.loadMark(m.Of)
	if m.Mask != 0 {
		t.mask(4, native32(m.Mask), nil)
	}
	t.cmp(m.Not, native32(m.Value))
}

func (t *translation) syn() error {
	const offsetFlags, syn, rst = 13, 2, 4
	if err := t.protocols(false, kstate.TCP); err != nil {
		return err
	}
	t.emit(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offsetFlags, Len: 1})
	t.mask(1, []byte{syn | rst}, nil)
	t.cmp(false, []byte{syn})
	return nil
}

// dscp matches the upper six bits of IPv4's second byte, or of IPv6's traffic class, which lies across two bytes.
func (t *translation) dscp(m kstate.MatchDSCP) error {
	if err := t.matchFamily(m.Family); err != nil {
		return err
	}
	if m.Value > 63 {
		return fmt.Errorf("dscp %d is above 63", m.Value)
	}
	if m.Family == route.IPv4 {
		t.emit(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 1, Len: 1})
		t.mask(1, []byte{0xfc}, nil)
		t.cmp(false, []byte{m.Value << 2})
		return nil
	}
	t.emit(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 0, Len: 2})
	t.mask(2, []byte{0x0f, 0xc0}, nil)
	t.cmp(false, []byte{m.Value >> 2, m.Value << 6})
	return nil
}

// echo matches the type of an ICMP message and the identifier behind its checksum.
func (t *translation) echo(m kstate.MatchEcho) error {
	if err := t.matchFamily(m.Family); err != nil {
		return err
	}
	protocol, request := kstate.ICMP, byte(8)
	if m.Family == route.IPv6 {
		protocol, request = kstate.ICMPv6, 128
	}
	if err := t.protocols(false, protocol); err != nil {
		return err
	}
	t.emit(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1})
	t.cmp(false, []byte{request})
	t.emit(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 4, Len: 2})
	t.cmp(false, be16(m.ID))
	return nil
}
