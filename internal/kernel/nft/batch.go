package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"bothways/internal/kstate"
)

// batch collects the messages of one transaction.
//
// It is not the library's: that cannot say in which byte order a map's values are (nft then lists other marks than the
// map holds), and it waits for as many answers as there are messages, which a transaction that is refused does not
// always give.
type batch struct {
	messages []netlink.Message
	labels   []string // what each message is about, for errors
	err      error    // the first that building met
}

func (b *batch) add(label string, typ uint16, flags netlink.HeaderFlags, attrs ...netlink.Attribute) {
	b.raw(label, netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8|typ), flags, [4]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0}, b.marshal(attrs...))
}

// raw adds a message. Its sequence number is its place, from 1.
func (b *batch) raw(label string, typ netlink.HeaderType, flags netlink.HeaderFlags, head [4]byte, data []byte) {
	b.labels = append(b.labels, label)
	b.messages = append(b.messages, netlink.Message{
		Header: netlink.Header{Type: typ, Flags: netlink.Request | flags, Sequence: uint32(len(b.labels))},
		Data:   append(head[:], data...),
	})
}

func (b *batch) mark(label string, typ netlink.HeaderType) {
	b.raw(label, typ, 0, [4]byte{2: 0, 3: unix.NFNL_SUBSYS_NFTABLES}, nil)
}

func (b *batch) begin() { b.mark("transaction", unix.NFNL_MSG_BATCH_BEGIN) }

func (b *batch) marshal(attrs ...netlink.Attribute) []byte {
	for _, a := range attrs {
		if len(a.Data) > math.MaxUint16-unix.SizeofNlAttr {
			b.fail(fmt.Errorf("attribute of %d bytes: want at most 64 KiB", len(a.Data)))
			return nil
		}
	}
	data, err := netlink.MarshalAttributes(attrs)
	b.fail(err)
	return data
}

func (b *batch) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *batch) nest(typ uint16, attrs ...netlink.Attribute) netlink.Attribute {
	return netlink.Attribute{Type: typ | unix.NLA_F_NESTED, Data: b.marshal(attrs...)}
}

func u32(typ uint16, v uint32) netlink.Attribute {
	return netlink.Attribute{Type: typ, Data: binary.BigEndian.AppendUint32(nil, v)}
}

func text(typ uint16, s string) netlink.Attribute {
	return netlink.Attribute{Type: typ, Data: append([]byte(s), 0)}
}

// tableName is the attribute that names our table; its number is the same in all messages but the table's own name's.
func tableName(typ uint16) netlink.Attribute { return text(typ, kstate.NftTable) }

// commit sends the transaction. The kernel has handled it when the send returns. Only the last message asks for an
// answer; refused ones are answered unasked, before it.
func (b *batch) commit(c *netlink.Conn) error {
	if b.err != nil {
		return b.err
	}
	last := &b.messages[len(b.messages)-1].Header
	last.Flags |= netlink.Acknowledge
	b.mark("transaction", unix.NFNL_MSG_BATCH_END)
	if _, err := c.SendMessages(b.messages); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 256<<10) // a refusal repeats the message
	for {
		var n int
		rerr := raw.Read(func(fd uintptr) bool {
			for {
				n, err = unix.Read(int(fd), buf)
				if err != unix.EINTR {
					return err != unix.EAGAIN
				}
			}
		})
		if err = errors.Join(err, rerr); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if done, err := b.answer(buf[:n], last.Sequence); done {
			return err
		}
	}
}

// answer looks for the end of the transaction in a datagram: a refusal, or the acknowledgement of the message last.
func (b *batch) answer(d []byte, last uint32) (done bool, err error) {
	native := binary.NativeEndian
	for len(d) >= unix.SizeofNlMsghdr+4 {
		n := int(native.Uint32(d))
		if n < unix.SizeofNlMsghdr+4 || n > len(d) {
			break
		}
		typ, flags, seq := native.Uint16(d[4:]), native.Uint16(d[6:]), native.Uint32(d[8:])
		if typ == unix.NLMSG_ERROR {
			errno := unix.Errno(-int32(native.Uint32(d[unix.SizeofNlMsghdr:])))
			if errno != 0 {
				label := "transaction"
				if seq >= 1 && int(seq) <= len(b.labels) {
					label = b.labels[seq-1]
				}
				return true, fmt.Errorf("%s: %w", label, refusal(errno, flags, d[unix.SizeofNlMsghdr+4:n]))
			}
			if seq == last {
				return true, nil
			}
		}
		d = d[min((n+3)&^3, len(d)):]
	}
	return false, nil
}

// refusal adds the kernel's explanation, if there is one, to the errno. rest is what follows it.
func refusal(errno unix.Errno, flags uint16, rest []byte) error {
	if flags&unix.NLM_F_ACK_TLVS == 0 || len(rest) < unix.SizeofNlMsghdr {
		return errno
	}
	skip := unix.SizeofNlMsghdr
	if flags&unix.NLM_F_CAPPED == 0 {
		skip = min(int(binary.NativeEndian.Uint32(rest)+3)&^3, len(rest))
	}
	if ad, err := netlink.NewAttributeDecoder(rest[skip:]); err == nil {
		for ad.Next() {
			if ad.Type() == unix.NLMSGERR_ATTR_MSG {
				return fmt.Errorf("%s (%w)", ad.String(), errno)
			}
		}
	}
	return errno
}
