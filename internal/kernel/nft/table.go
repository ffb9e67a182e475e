package nft

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

// Replace makes the table exactly r, or leaves the old one and returns an error. Counters start at zero.
func (h *Handle) Replace(ctx context.Context, r kstate.Ruleset) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := &builder{sets: map[string]*set{}, chains: map[string]bool{}}
	b.begin()
	// To delete what is not there would fail the transaction, so it is added first.
	b.add("add table", unix.NFT_MSG_NEWTABLE, netlink.Create, tableName(unix.NFTA_TABLE_NAME))
	b.add("delete table", unix.NFT_MSG_DELTABLE, 0, tableName(unix.NFTA_TABLE_NAME))
	b.add("add table", unix.NFT_MSG_NEWTABLE, netlink.Create, tableName(unix.NFTA_TABLE_NAME))
	err := b.build(r)
	if err == nil {
		err = h.with(ctx, b.commit)
	}
	if err != nil {
		return fmt.Errorf("replace nftables table %s: %w", kstate.NftTable, err)
	}
	h.seen, err = h.read(ctx)
	if err != nil {
		return fmt.Errorf("read nftables table %s after replacing it: %w", kstate.NftTable, err)
	}
	return nil
}

// Remove deletes the table; one that is not there is success.
func (h *Handle) Remove(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := &batch{}
	b.begin()
	b.add("delete table", unix.NFT_MSG_DELTABLE, 0, tableName(unix.NFTA_TABLE_NAME))
	if err := h.with(ctx, b.commit); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove nftables table %s: %w", kstate.NftTable, err)
	}
	h.seen = nil
	return nil
}

// builder turns a ruleset into messages.
type builder struct {
	batch
	sets   map[string]*set // sets and maps, by name
	chains map[string]bool
	nextID uint32
}

// hookNumber is the kernel's number of a hook.
func hookNumber(h kstate.Hook) uint32 {
	switch h {
	case kstate.Prerouting:
		return unix.NF_INET_PRE_ROUTING
	case kstate.Input:
		return unix.NF_INET_LOCAL_IN
	case kstate.Forward:
		return unix.NF_INET_FORWARD
	case kstate.Output:
		return unix.NF_INET_LOCAL_OUT
	}
	return unix.NF_INET_POST_ROUTING
}

func (b *builder) build(r kstate.Ruleset) error {
	for _, name := range r.Counters {
		b.add("counter "+name, unix.NFT_MSG_NEWOBJ, netlink.Create,
			tableName(unix.NFTA_OBJ_TABLE), text(unix.NFTA_OBJ_NAME, name), u32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER), b.nest(unix.NFTA_OBJ_DATA))
	}
	// Chains before maps, whose verdicts name them; rules last, which name everything.
	for _, c := range r.Chains {
		b.addChain(c)
	}
	for _, s := range r.Sets {
		if err := b.addSet(s); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	for _, m := range r.Maps {
		if err := b.addMap(m); err != nil {
			return fmt.Errorf("map %s: %w", m.Name, err)
		}
	}
	for _, c := range r.Chains {
		for i, rule := range c.Rules {
			label := fmt.Sprintf("chain %s: rule %d, %s", c.Name, i+1, rule)
			if err := b.addRule(label, c.Name, rule); err != nil {
				return fmt.Errorf("%s: %w", label, err)
			}
		}
	}
	return nil
}

func (b *builder) addChain(c kstate.NftChain) {
	attrs := []netlink.Attribute{tableName(unix.NFTA_CHAIN_TABLE), text(unix.NFTA_CHAIN_NAME, c.Name)}
	if c.Hook != kstate.NoHook {
		attrs = append(attrs,
			b.nest(unix.NFTA_CHAIN_HOOK, u32(unix.NFTA_HOOK_HOOKNUM, hookNumber(c.Hook)), u32(unix.NFTA_HOOK_PRIORITY, uint32(int32(c.Priority)))),
			u32(unix.NFTA_CHAIN_POLICY, policyAccept), text(unix.NFTA_CHAIN_TYPE, string(c.Type)))
	}
	b.add("chain "+c.Name, unix.NFT_MSG_NEWCHAIN, netlink.Create, attrs...)
	b.chains[c.Name] = true
}

// policyAccept is NF_ACCEPT, which x/sys lacks.
const policyAccept = 1

// maxComment is nft's limit for a rule's comment, with its final zero.
const maxComment = 128

func (b *builder) addRule(label, chain string, r kstate.NftRule) error {
	t := &translation{builder: b}
	for _, p := range r.Parts {
		if err := t.part(p); err != nil {
			return err
		}
	}
	var exprs []netlink.Attribute
	for _, e := range t.exprs {
		if c, ok := e.(*connAddress); ok {
			exprs = append(exprs, c.attribute(&b.batch))
			continue
		}
		data, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			return err
		}
		exprs = append(exprs, netlink.Attribute{Type: unix.NFTA_LIST_ELEM | unix.NLA_F_NESTED, Data: data})
	}
	attrs := []netlink.Attribute{tableName(unix.NFTA_RULE_TABLE), text(unix.NFTA_RULE_CHAIN, chain), b.nest(unix.NFTA_RULE_EXPRESSIONS, exprs...)}
	if r.Comment != "" {
		if len(r.Comment) >= maxComment {
			return fmt.Errorf("comment of %d bytes: want at most %d", len(r.Comment), maxComment-1)
		}
		attrs = append(attrs, netlink.Attribute{Type: unix.NFTA_RULE_USERDATA, Data: userdata.AppendString(nil, userdata.TypeComment, r.Comment)})
	}
	b.add(label, unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, attrs...)
	return nil
}
