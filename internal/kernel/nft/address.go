package nft

import (
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// Bits of a connection's status: IPS_CONFIRMED, IPS_SRC_NAT and IPS_DST_NAT.
const (
	statusConfirmed = 1 << 3
	statusSNAT      = 1 << 4
	statusDNAT      = 1 << 5
)

// status matches connections with one of the bits, or with not those with none.
func (t *translation) status(not bool, bits uint32) {
	t.emit(&expr.Ct{Key: expr.CtKeySTATUS, Register: reg})
	t.bits(not, bits)
}

// connAddress loads an address of the packet's connection. The library's expression does not name the direction for these
// keys, and gives it as four bytes where the kernel reads one.
type connAddress struct {
	expr.Any
	key   expr.CtKey
	reply bool
}

func (c *connAddress) attribute(b *batch) netlink.Attribute {
	direction := byte(0)
	if c.reply {
		direction = 1
	}
	return b.nest(unix.NFTA_LIST_ELEM, text(unix.NFTA_EXPR_NAME, "ct"), b.nest(unix.NFTA_EXPR_DATA,
		u32(unix.NFTA_CT_KEY, uint32(c.key)), u32(unix.NFTA_CT_DREG, reg), netlink.Attribute{Type: unix.NFTA_CT_DIRECTION, Data: []byte{direction}}))
}

// loadAddress loads an address. What it returns shortens the load to the first bytes, where that can be.
func (t *translation) loadAddress(m kstate.MatchAddress) (shorten func(bytes int), err error) {
	family, end := m.FamilyOf(), min(m.End, kstate.Destination)
	if m.Of != kstate.OfPacket {
		keys := [...]expr.CtKey{unix.NFT_CT_SRC_IP, unix.NFT_CT_DST_IP}
		if family == route.IPv6 {
			keys = [...]expr.CtKey{unix.NFT_CT_SRC_IP6, unix.NFT_CT_DST_IP6}
		}
		t.emit(&connAddress{key: keys[end], reply: m.Of == kstate.OfReplies})
		return func(int) {}, nil
	}
	if err := t.matchFamily(family); err != nil {
		return nil, err
	}
	n, offset := uint32(4), [...]uint32{12, 16}[end]
	if family == route.IPv6 {
		n, offset = 16, [...]uint32{8, 24}[end]
	}
	load := &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n}
	t.emit(load)
	return func(bytes int) { load.Len = uint32(bytes) }, nil
}

// impossibleSource matches a source that is not zero, and of another type than a single other host's.
func (t *translation) impossibleSource() error {
	const unicast = unix.RTN_UNICAST
	if _, err := t.loadAddress(kstate.MatchAddress{Family: route.IPv4}); err != nil {
		return err
	}
	t.cmp(true, make([]byte, 4))
	t.emit(&expr.Fib{Register: reg, FlagSADDR: true, ResultADDRTYPE: true})
	t.cmp(true, native32(unicast))
	return nil
}
