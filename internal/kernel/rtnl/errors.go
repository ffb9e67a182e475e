package rtnl

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotSettable says that a sysctl does not exist or may not be written here, as in a container.
	ErrNotSettable = errors.New("not settable here")
	// ErrNotPermitted says that the process lacks the rights to change the network: CAP_NET_ADMIN.
	ErrNotPermitted = errors.New("no permission to change the network (CAP_NET_ADMIN is missing)")
	// ErrInterrupted says that what was being read changed meanwhile: what was read is not one state. Read again.
	ErrInterrupted = errors.New("the kernel's state changed while it was read")
)

// Error is the kernel's refusal, with its own explanation where it gives one.
type Error struct {
	Errno   unix.Errno
	Message string // extended acknowledgement; often empty
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Errno.Error()
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Errno)
}

// Unwrap gives the errno, so that errors.Is(err, unix.ENODEV) works.
func (e *Error) Unwrap() error { return e.Errno }

// parseError reads NLMSG_ERROR, or NLMSG_DONE where done is set; nil is success.
func parseError(flags uint16, b []byte, done bool) error {
	if len(b) < 4 {
		if done {
			return nil
		}
		return errShort
	}
	errno := int32(native.Uint32(b))
	if errno == 0 {
		return nil
	}
	e := &Error{Errno: unix.Errno(-errno)}
	b = b[4:]
	if !done {
		if len(b) < headerLen {
			return e
		}
		if skip := int(native.Uint32(b)); flags&unix.NLM_F_CAPPED == 0 && skip <= len(b) {
			b = b[(skip+3)&^3:]
		} else {
			b = b[headerLen:]
		}
	}
	if flags&unix.NLM_F_ACK_TLVS != 0 {
		for typ, v := range attributes(b, 0) {
			if typ == unix.NLMSGERR_ATTR_MSG {
				e.Message = cstring(v)
			}
		}
	}
	return e
}
