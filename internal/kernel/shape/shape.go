package shape

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/kernel/namespace"
	"bothways/internal/kstate"
)

// Handle works in one network namespace.
type Handle struct{ ns int }

// Open prepares a handle for the network namespace of the calling thread.
func Open() (*Handle, error) {
	ns, err := namespace.Open()
	if err != nil {
		return nil, fmt.Errorf("shape: %w", err)
	}
	return &Handle{ns}, nil
}

// Close closes the handle. What was set up stays.
func (h *Handle) Close() error { return unix.Close(h.ns) }

// Apply brings an interface to a shaper; one without classes is taken away. It may be called again with the same. A root
// of somebody else is left alone, and said, unless the shaper takes it.
func (h *Handle) Apply(_ context.Context, s kstate.Shaper) error {
	err := namespace.Do(h.ns, func() error {
		n, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer n.Close()
		return apply(n, s)
	})
	if err != nil {
		return fmt.Errorf("shape interface %d: %w", s.Interface, err)
	}
	return nil
}

func apply(n *netlink.Handle, s kstate.Shaper) error {
	link, err := n.LinkByIndex(s.Interface)
	if err != nil {
		return err
	}
	root, err := rootOf(n, link)
	if err != nil {
		return err
	}
	ours := root != nil && root.Type() == "htb" && root.Attrs().Handle == netlink.MakeHandle(kstate.ShaperHandle, 0)
	if len(s.Classes) == 0 {
		if !ours {
			return nil
		}
		return n.QdiscDel(root)
	}
	if !ours {
		if root != nil && !s.Take {
			return fmt.Errorf("its root queueing discipline (%s) is not ours: shape: take would replace it", root.Type())
		}
		htb := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: s.Interface, Handle: netlink.MakeHandle(kstate.ShaperHandle, 0), Parent: netlink.HANDLE_ROOT})
		htb.Defcls = 0 // what is in no class passes
		if err := n.QdiscReplace(htb); err != nil {
			return fmt.Errorf("htb: %w", err)
		}
	}
	return classes(n, link, s)
}

// rootOf is the root that somebody put on an interface; those that the kernel puts there by itself have handle 0.
func rootOf(n *netlink.Handle, link netlink.Link) (netlink.Qdisc, error) {
	list, err := n.QdiscList(link)
	if err != nil {
		return nil, err
	}
	for _, q := range list {
		if q.Attrs().Parent == netlink.HANDLE_ROOT && q.Attrs().Handle != 0 {
			return q, nil
		}
	}
	return nil, nil
}

func classes(n *netlink.Handle, link netlink.Link, s kstate.Shaper) error {
	root := netlink.MakeHandle(kstate.ShaperHandle, 0)
	have, err := n.ClassList(link, root)
	if err != nil {
		return err
	}
	keep := map[uint32]bool{}
	for _, c := range s.Classes {
		handle := netlink.MakeHandle(kstate.ShaperHandle, c.Minor)
		keep[handle] = true
		class := netlink.NewHtbClass(netlink.ClassAttrs{LinkIndex: s.Interface, Parent: root, Handle: handle},
			netlink.HtbClassAttrs{Rate: c.Rate, Ceil: c.Rate})
		if err := n.ClassReplace(class); err != nil {
			return fmt.Errorf("class %x: %w", c.Minor, err)
		}
	}
	for _, c := range have {
		if !keep[c.Attrs().Handle] {
			if err := n.ClassDel(c); err != nil {
				return fmt.Errorf("delete class %x: %w", c.Attrs().Handle&0xffff, err)
			}
		}
	}
	return nil
}
