package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

const (
	// maxElements go into one message: their attribute's length has 16 bits.
	maxElements = 1000
	ifnameLen   = 16
	// orderHost and orderBig are nft's own numbers for byte orders, in a set's user data; dataByteOrder is
	// NFTNL_UDATA_SET_DATABYTEORDER. The kernel does not care, but nft lists nonsense without them.
	orderHost, orderBig = 1, 2
	dataByteOrder       = 1
)

// set is a set or a map as the kernel has it.
type set struct {
	name     string
	id       uint32 // within the transaction
	flags    uint32
	key      nftables.SetDatatype
	value    nftables.SetDatatype // of a map
	timeout  uint64               // milliseconds
	size     uint32
	elements []element
}

// element is an element of a set or a map.
type element struct {
	key     []byte
	end     bool // the end of an interval
	value   []byte
	verdict *expr.Verdict
}

func (s *set) is(flag uint32) bool { return s.flags&flag != 0 }

func order(t nftables.SetDatatype) uint32 {
	if t.Name == nftables.TypeIFName.Name || t.Name == nftables.TypeMark.Name {
		return orderHost
	}
	return orderBig
}

// put queues a set, and its elements in messages small enough.
func (b *builder) put(s *set) error {
	b.nextID++
	s.id = b.nextID
	label := "set " + s.name
	if s.is(unix.NFT_SET_ANONYMOUS) {
		if len(s.elements) > maxElements {
			return fmt.Errorf("%d elements in an anonymous set: want at most %d, or a named one", len(s.elements), maxElements)
		}
		label, s.name = "anonymous set", "__set%d"
		if s.is(unix.NFT_SET_MAP) {
			s.name = "__map%d"
		}
	} else {
		if b.sets[s.name] != nil {
			return fmt.Errorf("there are two")
		}
		b.sets[s.name] = s
	}
	if s.is(unix.NFT_SET_CONSTANT) {
		s.size = uint32(len(s.elements))
	}
	user := userdata.AppendUint32(nil, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, order(s.key))
	attrs := []netlink.Attribute{
		tableName(unix.NFTA_SET_TABLE), text(unix.NFTA_SET_NAME, s.name), u32(unix.NFTA_SET_ID, s.id), u32(unix.NFTA_SET_FLAGS, s.flags),
		u32(unix.NFTA_SET_KEY_TYPE, s.key.GetNFTMagic()), u32(unix.NFTA_SET_KEY_LEN, s.key.Bytes),
	}
	if s.is(unix.NFT_SET_MAP) {
		typ := s.value.GetNFTMagic()
		if s.verdicts() {
			typ = unix.NFT_DATA_VERDICT
		} else {
			user = userdata.AppendUint32(user, dataByteOrder, order(s.value))
		}
		attrs = append(attrs, u32(unix.NFTA_SET_DATA_TYPE, typ), u32(unix.NFTA_SET_DATA_LEN, s.value.Bytes))
	}
	if s.timeout > 0 {
		attrs = append(attrs, netlink.Attribute{Type: unix.NFTA_SET_TIMEOUT, Data: binary.BigEndian.AppendUint64(nil, s.timeout)})
	}
	if s.size > 0 {
		attrs = append(attrs, b.nest(unix.NFTA_SET_DESC, u32(unix.NFTA_SET_DESC_SIZE, s.size)))
	}
	attrs = append(attrs, netlink.Attribute{Type: unix.NFTA_SET_USERDATA, Data: user})
	b.add(label, unix.NFT_MSG_NEWSET, netlink.Create, attrs...)
	for chunk := range slices.Chunk(s.elements, maxElements) {
		list := make([]netlink.Attribute, len(chunk))
		for i, e := range chunk {
			list[i] = b.nest(unix.NFTA_LIST_ELEM, b.element(e)...)
		}
		b.add("elements of "+label, unix.NFT_MSG_NEWSETELEM, netlink.Create, tableName(unix.NFTA_SET_ELEM_LIST_TABLE),
			text(unix.NFTA_SET_ELEM_LIST_SET, s.name), u32(unix.NFTA_SET_ELEM_LIST_SET_ID, s.id), b.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list...))
	}
	return nil
}

func (s *set) verdicts() bool { return s.value.Name == nftables.TypeVerdict.Name }

func (b *builder) element(e element) []netlink.Attribute {
	attrs := []netlink.Attribute{b.nest(unix.NFTA_SET_ELEM_KEY, netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: e.key})}
	if e.end {
		attrs = append(attrs, u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END))
	}
	switch {
	case e.verdict != nil:
		verdict := []netlink.Attribute{u32(unix.NFTA_VERDICT_CODE, uint32(e.verdict.Kind))}
		if e.verdict.Chain != "" {
			verdict = append(verdict, text(unix.NFTA_VERDICT_CHAIN, e.verdict.Chain))
		}
		attrs = append(attrs, b.nest(unix.NFTA_SET_ELEM_DATA, b.nest(unix.NFTA_DATA_VERDICT, verdict...)))
	case e.value != nil:
		attrs = append(attrs, b.nest(unix.NFTA_SET_ELEM_DATA, netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: e.value}))
	}
	return attrs
}

func (b *builder) addSet(s kstate.NftSet) error {
	to := &set{name: s.Name}
	var err error
	switch s.Type {
	case kstate.Ifname:
		to.key = nftables.TypeIFName
		to.elements, err = nameElements(s.Interfaces)
	case kstate.IPv4Addr:
		to.key = nftables.TypeIPAddr
		to.elements, err = intervals(s.Prefixes, route.IPv4)
	case kstate.IPv6Addr:
		to.key = nftables.TypeIP6Addr
		to.elements, err = intervals(s.Prefixes, route.IPv6)
	default:
		err = fmt.Errorf("type %s", s.Type)
	}
	if err != nil {
		return err
	}
	switch {
	case s.Dynamic:
		to.flags, to.size, to.elements = unix.NFT_SET_EVAL, s.Size, nil
		if s.Timeout > 0 {
			to.flags |= unix.NFT_SET_TIMEOUT
			to.timeout = uint64(s.Timeout.Milliseconds())
		}
	case s.Type != kstate.Ifname:
		to.flags = unix.NFT_SET_CONSTANT | unix.NFT_SET_INTERVAL
	}
	return b.put(to)
}

func (b *builder) addMap(m kstate.NftMap) error {
	to := &set{name: m.Name, flags: unix.NFT_SET_MAP, key: keyType(m.Type), value: nftables.TypeMark}
	if m.Verdicts != nil {
		to.value = nftables.TypeVerdict
		var err error
		if to.elements, err = b.verdictElements(m.Type, m.Verdicts); err != nil {
			return err
		}
		return b.put(to)
	}
	if m.Type != kstate.Ifname {
		return fmt.Errorf("from %s to mark: want from ifname", m.Type)
	}
	for _, e := range m.Marks {
		name, err := ifname(e.Interface)
		if err != nil {
			return err
		}
		to.elements = append(to.elements, element{key: name, value: native32(e.Mark)})
	}
	return b.put(to)
}

func keyType(t kstate.KeyType) nftables.SetDatatype {
	if t == kstate.MarkKey {
		return nftables.TypeMark
	}
	return nftables.TypeIFName
}

func (b *builder) verdictElements(key kstate.KeyType, verdicts []kstate.VerdictElement) ([]element, error) {
	elements := make([]element, len(verdicts))
	for i, v := range verdicts {
		verdict, err := b.verdict(v.Verdict)
		if err != nil {
			return nil, err
		}
		elements[i] = element{key: native32(v.Mark), verdict: verdict}
		if key == kstate.Ifname {
			if elements[i].key, err = ifname(v.Interface); err != nil {
				return nil, err
			}
		}
	}
	return elements, nil
}

func (b *builder) verdict(v kstate.Verdict) (*expr.Verdict, error) {
	var kind expr.VerdictKind
	switch v.Kind {
	case kstate.Accept:
		kind = expr.VerdictAccept
	case kstate.Drop:
		kind = expr.VerdictDrop
	case kstate.Return:
		kind = expr.VerdictReturn
	case kstate.Jump:
		kind = expr.VerdictJump
	case kstate.Goto:
		kind = expr.VerdictGoto
	default:
		return nil, fmt.Errorf("%s is none", v)
	}
	if (v.Kind == kstate.Jump || v.Kind == kstate.Goto) != (v.Chain != "") || v.Chain != "" && !b.chains[v.Chain] {
		return nil, fmt.Errorf("%s: no such chain", v)
	}
	return &expr.Verdict{Kind: kind, Chain: v.Chain}, nil
}

// ifname is an interface's name as nft stores it: filled with zeros.
func ifname(name string) ([]byte, error) {
	if name == "" || len(name) >= ifnameLen {
		return nil, fmt.Errorf("interface name %q: want 1 to %d bytes", name, ifnameLen-1)
	}
	b := make([]byte, ifnameLen)
	copy(b, name)
	return b, nil
}

func nameElements(names []string) ([]element, error) {
	elements := make([]element, len(names))
	for i, n := range names {
		key, err := ifname(n)
		if err != nil {
			return nil, err
		}
		elements[i].key = key
	}
	return elements, nil
}

// intervals turns prefixes into the elements of an interval set: each start, and the first address behind each end.
// As nft does, a first element marks the addresses from zero on as not in the set.
func intervals(prefixes []netip.Prefix, family route.Family) ([]element, error) {
	sorted := slices.SortedFunc(slices.Values(prefixes), route.ComparePrefix)
	var elements []element
	zero := family.Default().Addr()
	if len(sorted) > 0 && sorted[0].Addr() != zero {
		elements = append(elements, element{key: zero.AsSlice(), end: true})
	}
	for i, p := range sorted {
		switch {
		case !p.IsValid() || p != p.Masked():
			return nil, fmt.Errorf("prefix %s is not masked", p)
		case route.FamilyOf(p.Addr()) != family:
			return nil, fmt.Errorf("prefix %s is not of %s", p, family)
		case i > 0 && sorted[i-1].Overlaps(p):
			return nil, fmt.Errorf("prefixes %s and %s overlap", sorted[i-1], p)
		}
		elements = append(elements, element{key: p.Addr().AsSlice()})
		if end := kstate.LastAddr(p).Next(); end.IsValid() {
			elements = append(elements, element{key: end.AsSlice(), end: true})
		}
	}
	return elements, nil
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func be16(v uint16) []byte     { return binary.BigEndian.AppendUint16(nil, v) }
