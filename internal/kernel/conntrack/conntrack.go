package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	ct "github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"bothways/internal/flow"
	"bothways/internal/kernel/namespace"
	"bothways/internal/route"
)

// Handle works in one network namespace. It is safe for concurrent use.
type Handle struct{ ns int }

// Open prepares a handle for the network namespace of the calling thread.
func Open() (*Handle, error) {
	ns, err := namespace.Open()
	if err != nil {
		return nil, fmt.Errorf("conntrack: %w", err)
	}
	return &Handle{ns}, nil
}

// Close closes the handle.
func (h *Handle) Close() error { return unix.Close(h.ns) }

// with calls fn with a fresh connection: the library's answers of an interrupted request must not meet the next one.
func (h *Handle) with(fn func(*ct.Conn) error) error {
	var c *ct.Conn
	err := namespace.Do(h.ns, func() (err error) {
		c, err = ct.Dial(nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	defer c.Close()
	if err := c.SetReadBuffer(8 << 20); err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	if err := fn(c); err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	return nil
}

func family(f route.Family) netfilter.ProtoFamily {
	if f == route.IPv4 {
		return netfilter.ProtoIPv4
	}
	return netfilter.ProtoIPv6
}

// Flush deletes the connections of a family whose mark in mask is value, in one request that the kernel filters.
func (h *Handle) Flush(_ context.Context, f route.Family, value, mask uint32) error {
	if value == 0 || mask == 0 || value&^mask != 0 {
		return fmt.Errorf("conntrack: refusing to flush mark %#x in mask %#x", value, mask)
	}
	return h.with(func(c *ct.Conn) error {
		return c.FlushFilter(ct.NewFilter().Family(family(f)).Mark(value).MarkMask(mask))
	})
}

// Flows lists the connections of a family whose mark in mask is value.
func (h *Handle) Flows(_ context.Context, f route.Family, value, mask uint32) ([]flow.Flow, error) {
	var out []flow.Flow
	err := h.with(func(c *ct.Conn) error {
		all, err := c.DumpFilter(ct.NewFilter().Family(family(f)).Mark(value).MarkMask(mask), nil)
		out = make([]flow.Flow, 0, len(all))
		for i := range all {
			out = append(out, translate(&all[i], f, mask))
		}
		return err
	})
	return out, err
}

func translate(x *ct.Flow, f route.Family, mask uint32) flow.Flow {
	o, p := x.TupleOrig, x.TupleOrig.Proto
	v := flow.Flow{
		Family: f, Protocol: p.Protocol,
		Source:      netip.AddrPortFrom(o.IP.SourceAddress, p.SourcePort),
		Destination: netip.AddrPortFrom(o.IP.DestinationAddress, p.DestinationPort),
		Translated:  x.TupleReply.IP.DestinationAddress,
		ICMPType:    p.ICMPType, ICMPCode: p.ICMPCode, ICMPID: p.ICMPID,
		Inbound: x.Status.DstNAT(), Answered: x.Status.SeenReply(),
	}
	if shift := mask & -mask; shift != 0 {
		v.Link = route.Link((x.Mark & mask) / shift)
	}
	return v
}

// Delete deletes connections, and returns how many there were; those that are gone already are no error.
func (h *Handle) Delete(ctx context.Context, flows []flow.Flow) (n int, err error) {
	err = h.with(func(c *ct.Conn) error {
		for _, f := range flows {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v6 := f.Family == route.IPv6
			tuple := ct.Tuple{
				IP: ct.IPTuple{SourceAddress: f.Source.Addr(), DestinationAddress: f.Destination.Addr()},
				Proto: ct.ProtoTuple{
					Protocol: f.Protocol, SourcePort: f.Source.Port(), DestinationPort: f.Destination.Port(),
					ICMPType: f.ICMPType, ICMPCode: f.ICMPCode, ICMPID: f.ICMPID,
					ICMPv4: f.Protocol == unix.IPPROTO_ICMP && !v6, ICMPv6: f.Protocol == unix.IPPROTO_ICMPV6 && v6,
				},
			}
			switch err := c.Delete(ct.Flow{TupleOrig: tuple}); {
			case err == nil:
				n++
			case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOENT):
				return err
			}
		}
		return nil
	})
	return n, err
}

// Fill is how many connections there are, of how many at most.
func (h *Handle) Fill() (count, limit int, err error) {
	err = namespace.Do(h.ns, func() error {
		for name, to := range map[string]*int{"nf_conntrack_count": &count, "nf_conntrack_max": &limit} {
			text, err := os.ReadFile("/proc/sys/net/netfilter/" + name)
			if err != nil {
				return err
			}
			if *to, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
				return err
			}
		}
		return nil
	})
	return count, limit, err
}
