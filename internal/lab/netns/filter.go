package netns

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Filter is what a namespace does with packets beside routing them: one nftables table, replaced as a whole.
type Filter struct {
	// Marks gives packets that arrive by an interface a mark.
	Marks map[string]uint32
	// Only lets in by an interface what comes from these prefixes; the rest is counted as Refused and dropped. Link-local
	// sources and neighbor discovery always pass.
	Only map[string][]netip.Prefix
	// Count counts what arrives by an interface to these addresses. The counter's name is the address.
	Count map[string][]netip.Addr
	// Dead are addresses of this namespace that neither hear nor answer.
	Dead []netip.Addr
}

// Refused is the counter of packets that Only dropped.
const Refused = "refused"

// Tables of a namespace: each is replaced without touching the others and their counters.
const (
	tableName  = "lab"
	muteName   = "lab_mute"
	silentName = "lab_silent"
)

// Filter replaces the namespace's filter, counters included.
func (n *Namespace) Filter(f Filter) error {
	return n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		b := &filterBuilder{Conn: c}
		b.build(f)
		if err := c.Flush(); err != nil {
			return fmt.Errorf("%s: filter: %w", n.Name, err)
		}
		return nil
	})
}

// Mute drops BGP, both ways, on these interfaces and on no others.
func (n *Namespace) Mute(interfaces []string) error {
	return n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		b := &filterBuilder{Conn: c}
		b.mute(interfaces)
		if err := c.Flush(); err != nil {
			return fmt.Errorf("%s: mute: %w", n.Name, err)
		}
		return nil
	})
}

// Silence lets nothing at all pass on these interfaces, which keep their carrier, and all on others.
func (n *Namespace) Silence(interfaces []string) error {
	return n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		b := &filterBuilder{Conn: c}
		b.silence(interfaces)
		if err := c.Flush(); err != nil {
			return fmt.Errorf("%s: silence: %w", n.Name, err)
		}
		return nil
	})
}

// Counters reads the counters of the filter.
func (n *Namespace) Counters() (map[string]uint64, error) {
	out := map[string]uint64{}
	err := n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		objects, err := c.GetObjects(&nftables.Table{Name: tableName, Family: nftables.TableFamilyINet})
		if err != nil {
			return err
		}
		for _, o := range objects {
			if counter, ok := o.(*nftables.CounterObj); ok {
				out[counter.Name] = counter.Packets
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: counters: %w", n.Name, err)
	}
	return out, nil
}

type filterBuilder struct {
	*nftables.Conn
	table *nftables.Table
}

// fresh returns a table that is empty whatever was there before: add, delete and add again is one transaction.
func (b *filterBuilder) fresh(name string, family nftables.TableFamily) *nftables.Table {
	t := &nftables.Table{Name: name, Family: family}
	b.AddTable(t)
	b.DelTable(t)
	return b.AddTable(t)
}

func (b *filterBuilder) chain(name string, hook *nftables.ChainHook) *nftables.Chain {
	return b.AddChain(&nftables.Chain{Name: name, Table: b.table, Type: nftables.ChainTypeFilter, Hooknum: hook,
		Priority: nftables.ChainPriorityRaw})
}

func (b *filterBuilder) rule(c *nftables.Chain, parts ...[]expr.Any) {
	b.AddRule(&nftables.Rule{Table: b.table, Chain: c, Exprs: slices.Concat(parts...)})
}

func (b *filterBuilder) build(f Filter) {
	b.table = b.fresh(tableName, nftables.TableFamilyINet)
	in, out := b.chain("in", nftables.ChainHookPrerouting), b.chain("out", nftables.ChainHookOutput)
	b.AddObj(&nftables.CounterObj{Table: b.table, Name: Refused})
	for _, name := range sortedKeys(f.Marks) {
		b.rule(in, interfaceIs(expr.MetaKeyIIFNAME, name), []expr.Any{
			&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(f.Marks[name])},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1}})
	}
	counted := map[netip.Addr]bool{}
	for _, name := range sortedKeys(f.Count) {
		for _, a := range f.Count[name] {
			if !counted[a] {
				b.AddObj(&nftables.CounterObj{Table: b.table, Name: a.String()})
				counted[a] = true
			}
			b.rule(in, interfaceIs(expr.MetaKeyIIFNAME, name), addressIn(false, host(a)), count(a.String()))
		}
	}
	for _, a := range f.Dead {
		b.rule(in, addressIn(false, host(a)), drop())
		b.rule(out, addressIn(true, host(a)), drop())
	}
	for _, name := range sortedKeys(f.Only) {
		iif := interfaceIs(expr.MetaKeyIIFNAME, name)
		b.rule(in, iif, addressIn(true, netip.MustParsePrefix("fe80::/10")), accept())
		b.rule(in, iif, addressIn(true, netip.MustParsePrefix("::/128")), accept())
		for _, p := range f.Only[name] {
			b.rule(in, iif, addressIn(true, p), accept())
		}
		b.rule(in, iif, count(Refused), drop())
	}
}

func (b *filterBuilder) mute(interfaces []string) {
	b.table = b.fresh(muteName, nftables.TableFamilyINet)
	in, out := b.chain("in", nftables.ChainHookPrerouting), b.chain("out", nftables.ChainHookOutput)
	for _, name := range interfaces {
		for offset := uint32(0); offset <= 2; offset += 2 {
			b.rule(in, interfaceIs(expr.MetaKeyIIFNAME, name), bgpPort(offset), drop())
			b.rule(out, interfaceIs(expr.MetaKeyOIFNAME, name), bgpPort(offset), drop())
		}
	}
}

// silence drops at the device, in both directions, so that not even ARP or neighbor discovery is heard.
func (b *filterBuilder) silence(interfaces []string) {
	t := b.fresh(silentName, nftables.TableFamilyNetdev)
	for i, name := range interfaces {
		for hook, chainName := range map[*nftables.ChainHook]string{
			nftables.ChainHookIngress: fmt.Sprintf("in%d", i), nftables.ChainHookEgress: fmt.Sprintf("out%d", i),
		} {
			c := b.AddChain(&nftables.Chain{Name: chainName, Table: t, Type: nftables.ChainTypeFilter, Hooknum: hook,
				Priority: nftables.ChainPriorityFilter, Device: name})
			b.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: drop()})
		}
	}
}

func interfaceIs(key expr.MetaKey, name string) []expr.Any {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// addressIn matches a packet of the prefix's family whose source or destination lies in it.
func addressIn(source bool, p netip.Prefix) []expr.Any {
	family, offset, size := byte(unix.NFPROTO_IPV4), uint32(16), uint32(4)
	if p.Addr().Is6() {
		family, offset, size = unix.NFPROTO_IPV6, 24, 16
	}
	if source {
		offset -= size
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

// bgpPort matches TCP with port 179 as source (offset 0) or destination (offset 2).
func bgpPort(offset uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 179}},
	}
}

func count(name string) []expr.Any {
	return []expr.Any{&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: name}}
}

func drop() []expr.Any   { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }
func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
