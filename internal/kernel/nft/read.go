package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

// Counters reads the table's named counters; without the table there are none.
func (h *Handle) Counters(ctx context.Context) (map[string]kstate.Counter, error) {
	counters := map[string]kstate.Counter{}
	err := h.with(ctx, func(c *netlink.Conn) error {
		return ask(c, unix.NFT_MSG_GETOBJ, netlink.Dump, []netlink.Attribute{tableName(unix.NFTA_OBJ_TABLE)}, func(ad *netlink.AttributeDecoder) {
			var table, name string
			var n kstate.Counter
			counter := false
			for ad.Next() {
				switch ad.Type() {
				case unix.NFTA_OBJ_TABLE:
					table = ad.String()
				case unix.NFTA_OBJ_NAME:
					name = ad.String()
				case unix.NFTA_OBJ_TYPE:
					counter = ad.Uint32() == unix.NFT_OBJECT_COUNTER
				case unix.NFTA_OBJ_DATA:
					ad.Nested(func(data *netlink.AttributeDecoder) error {
						for data.Next() {
							switch data.Type() {
							case unix.NFTA_COUNTER_PACKETS:
								n.Packets = data.Uint64()
							case unix.NFTA_COUNTER_BYTES:
								n.Bytes = data.Uint64()
							}
						}
						return nil
					})
				}
			}
			if counter && table == kstate.NftTable {
				counters[name] = n
			}
		})
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("read nftables counters: %w", err)
	}
	return counters, nil
}

// Marks reads a named map from interfaces to marks, which also an earlier process may have put there. Without the
// table, or the map, it is empty.
func (h *Handle) Marks(ctx context.Context, name string) (map[string]uint32, error) {
	marks := map[string]uint32{}
	err := h.with(ctx, func(c *netlink.Conn) error {
		return elements(c, name, func(e *netlink.AttributeDecoder) {
			var key, value []byte
			for e.Next() {
				switch e.Type() {
				case unix.NFTA_SET_ELEM_KEY:
					key = dataValue(e)
				case unix.NFTA_SET_ELEM_DATA:
					value = dataValue(e)
				}
			}
			if len(value) == 4 {
				marks[strings.TrimRight(string(key), "\x00")] = binary.NativeEndian.Uint32(value)
			}
		})
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("read nftables map %s: %w", name, err)
	}
	return marks, nil
}

func dataValue(ad *netlink.AttributeDecoder) (value []byte) {
	ad.Nested(func(data *netlink.AttributeDecoder) error {
		for data.Next() {
			if data.Type() == unix.NFTA_DATA_VALUE {
				value = data.Bytes()
			}
		}
		return nil
	})
	return value
}

// elements gives fn each element of a set or map.
func elements(c *netlink.Conn, set string, fn func(*netlink.AttributeDecoder)) error {
	attrs := []netlink.Attribute{tableName(unix.NFTA_SET_ELEM_LIST_TABLE), text(unix.NFTA_SET_ELEM_LIST_SET, set)}
	return ask(c, unix.NFT_MSG_GETSETELEM, netlink.Dump, attrs, func(ad *netlink.AttributeDecoder) {
		for ad.Next() {
			if ad.Type() != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(e *netlink.AttributeDecoder) error {
						fn(e)
						return nil
					})
				}
				return nil
			})
		}
	})
}

// ask sends one request about inet tables and gives the attributes of each answer to fn.
func ask(c *netlink.Conn, typ uint16, flags netlink.HeaderFlags, attrs []netlink.Attribute, fn func(*netlink.AttributeDecoder)) error {
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return err
	}
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | typ), Flags: netlink.Request | flags},
		Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, data...),
	})
	if err != nil {
		return err
	}
	for _, m := range answers {
		if len(m.Data) < 4 || m.Header.Type&0xff00 != unix.NFNL_SUBSYS_NFTABLES<<8 {
			continue
		}
		ad, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return err
		}
		ad.ByteOrder = binary.BigEndian
		fn(ad)
		if err := ad.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Interfaces reads a named set of interfaces, which also an earlier process may have put there. Without the table, or the set,
// it is empty.
func (h *Handle) Interfaces(ctx context.Context, name string) ([]string, error) {
	var out []string
	err := h.with(ctx, func(c *netlink.Conn) error {
		return elements(c, name, func(e *netlink.AttributeDecoder) {
			for e.Next() {
				if e.Type() == unix.NFTA_SET_ELEM_KEY {
					out = append(out, strings.TrimRight(string(dataValue(e)), "\x00"))
				}
			}
		})
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("read nftables set %s: %w", name, err)
	}
	slices.Sort(out)
	return out, nil
}

// Addresses reads a named set of single addresses, also one that rules fill. Without the table, or the set, it is empty.
func (h *Handle) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	var out []netip.Addr
	err := h.with(ctx, func(c *netlink.Conn) error {
		return elements(c, name, func(e *netlink.AttributeDecoder) {
			for e.Next() {
				if e.Type() == unix.NFTA_SET_ELEM_KEY {
					if a, ok := netip.AddrFromSlice(dataValue(e)); ok {
						out = append(out, a)
					}
				}
			}
		})
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("read nftables set %s: %w", name, err)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out, nil
}
