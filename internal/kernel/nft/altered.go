package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

// Attributes that x/sys lacks: NFTA_TABLE_HANDLE and NFTA_SET_HANDLE.
const (
	tableHandle = 4
	setHandle   = 16
)

// imprint is what the table looked like: every object with its handle, which the kernel never gives twice.
type imprint struct {
	generation uint32 // of all of nftables in the namespace, counted up by every transaction
	lines      []string
}

// Altered reports whether somebody else changed or deleted the table since the last Replace of this handle, and what.
// It costs one message as long as nobody at all changes nftables. What packets change (counters, dynamic sets) is not
// an alteration.
func (h *Handle) Altered(ctx context.Context) (altered bool, what string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen == nil {
		return true, "no table was put yet", nil
	}
	var generation uint32
	err = h.with(ctx, func(c *netlink.Conn) (err error) {
		generation, err = readGeneration(c)
		return err
	})
	if err != nil {
		return false, "", fmt.Errorf("read nftables generation: %w", err)
	}
	if generation == h.seen.generation {
		return false, "", nil
	}
	now, err := h.read(ctx)
	if err != nil {
		return false, "", fmt.Errorf("read nftables table %s: %w", kstate.NftTable, err)
	}
	if slices.Equal(now.lines, h.seen.lines) {
		h.seen = now // somebody else's table
		return false, "", nil
	}
	if len(now.lines) == 0 {
		return true, "the table is gone", nil
	}
	return true, difference(h.seen.lines, now.lines), nil
}

// difference names the first object that is gone, or else the first that is new.
func difference(before, now []string) string {
	for _, l := range before {
		if !slices.Contains(now, l) {
			return l + " is gone or changed"
		}
	}
	for _, l := range now {
		if !slices.Contains(before, l) {
			return l + " is new"
		}
	}
	return "the order"
}

// maxReads is how often the table is read while others change nftables.
const maxReads = 10

// read takes the table's imprint at one moment.
func (h *Handle) read(ctx context.Context) (*imprint, error) {
	var p *imprint
	err := h.with(ctx, func(c *netlink.Conn) error {
		for range maxReads {
			before, err := readGeneration(c)
			if err != nil {
				return err
			}
			lines, err := readLines(c)
			if err != nil {
				return err
			}
			after, err := readGeneration(c)
			if err != nil {
				return err
			}
			if before == after {
				p = &imprint{generation: after, lines: lines}
				return nil
			}
		}
		return errors.New("it changes all the time")
	})
	return p, err
}

func readGeneration(c *netlink.Conn) (id uint32, err error) {
	err = ask(c, unix.NFT_MSG_GETGEN, 0, nil, func(ad *netlink.AttributeDecoder) {
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID {
				id = ad.Uint32()
			}
		}
	})
	return id, err
}

// readLines lists the table's objects, sorted.
func readLines(c *netlink.Conn) ([]string, error) {
	var lines, sets []string
	for _, object := range []struct {
		typ                 uint16
		table, name, handle uint16 // attributes
		words               string
		more                []uint16 // attributes that are part of what the object is
		filter              bool
	}{
		{unix.NFT_MSG_GETTABLE, unix.NFTA_TABLE_NAME, unix.NFTA_TABLE_NAME, tableHandle, "table %s, handle %d", []uint16{unix.NFTA_TABLE_FLAGS}, false},
		{unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_NAME, unix.NFTA_CHAIN_HANDLE, "chain %s, handle %d", []uint16{unix.NFTA_CHAIN_POLICY, unix.NFTA_CHAIN_HOOK}, false},
		{unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, unix.NFTA_RULE_CHAIN, unix.NFTA_RULE_HANDLE, "rule in chain %s, handle %d", nil, true},
		{unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME, setHandle, "set %s, handle %d", []uint16{unix.NFTA_SET_FLAGS}, true},
	} {
		var filter []netlink.Attribute
		if object.filter {
			filter = []netlink.Attribute{tableName(object.table)}
		}
		err := ask(c, object.typ, netlink.Dump, filter, func(ad *netlink.AttributeDecoder) {
			var table, name, more string
			var handle, flags uint64
			for ad.Next() {
				switch ad.Type() {
				case object.handle:
					handle = ad.Uint64()
				case object.table, object.name:
					if ad.Type() == object.table {
						table = ad.String()
					}
					if ad.Type() == object.name {
						name = ad.String()
					}
				case unix.NFTA_RULE_EXPRESSIONS:
					if object.typ == unix.NFT_MSG_GETRULE {
						more = digest(ad)
						break
					}
					fallthrough
				default:
					if slices.Contains(object.more, ad.Type()) {
						more += fmt.Sprintf(" %x", ad.Bytes())
						if object.typ == unix.NFT_MSG_GETSET {
							flags = uint64(binary.BigEndian.Uint32(ad.Bytes()))
						}
					}
				}
			}
			if table != kstate.NftTable {
				return
			}
			lines = append(lines, fmt.Sprintf(object.words, name, handle)+more)
			// Packets change dynamic sets; nobody can change those without a name.
			if object.typ == unix.NFT_MSG_GETSET && flags&(unix.NFT_SET_EVAL|unix.NFT_SET_ANONYMOUS) == 0 {
				sets = append(sets, name)
			}
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		if len(lines) == 0 {
			return nil, nil // there is no table
		}
	}
	for _, name := range sets {
		list, err := readElements(c, name)
		if err != nil && !errors.Is(err, unix.ENOENT) { // gone meanwhile: the generation will tell
			return nil, err
		}
		lines = append(lines, list...)
	}
	slices.Sort(lines)
	return lines, nil
}

// digest is a number of a rule's expressions, without what packets change: whoever replaces a rule keeps its handle.
func digest(ad *netlink.AttributeDecoder) string {
	sum := fnv.New64a()
	ad.Nested(func(list *netlink.AttributeDecoder) error {
		for list.Next() {
			list.Nested(func(e *netlink.AttributeDecoder) error {
				counter := false
				for e.Next() {
					if e.Type() == unix.NFTA_EXPR_NAME {
						counter = e.String() == "counter"
					}
					if !counter || e.Type() == unix.NFTA_EXPR_NAME {
						sum.Write(e.Bytes())
					}
				}
				return nil
			})
		}
		return nil
	})
	return fmt.Sprintf(" %x", sum.Sum64())
}

func readElements(c *netlink.Conn, set string) (lines []string, err error) {
	err = elements(c, set, func(e *netlink.AttributeDecoder) {
		line := "element of " + set + ","
		for e.Next() {
			if t := e.Type(); t == unix.NFTA_SET_ELEM_KEY || t == unix.NFTA_SET_ELEM_DATA || t == unix.NFTA_SET_ELEM_FLAGS {
				line += fmt.Sprintf(" %x", e.Bytes())
			}
		}
		lines = append(lines, line)
	})
	return lines, err
}
