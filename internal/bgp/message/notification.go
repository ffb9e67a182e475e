package message

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Notification is the NOTIFICATION message: what ended a session.
type Notification struct {
	Code    Code
	Subcode Subcode
	Data    []byte
}

// maxCommunication is the length of a shutdown communication in bytes (RFC 9003, section 2).
const maxCommunication = 255

// Cease makes a NOTIFICATION of code Cease. The text is sent as a shutdown communication with the subcodes that have
// one (RFC 9003: administrative shutdown and reset); it is made valid UTF-8 and cut to 255 bytes.
func Cease(s Subcode, text string) *Notification {
	n := &Notification{Code: CodeCease, Subcode: s}
	if text = sanitise(text); text != "" && n.communicates() {
		n.Data = append([]byte{byte(len(text))}, text...)
	}
	return n
}

// Type implements Message.
func (*Notification) Type() Type { return TypeNotification }

// AppendTo implements Message. Data that does not fit is cut: a NOTIFICATION must get out.
func (n *Notification) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(begin(dst, TypeNotification), byte(n.Code), byte(n.Subcode))
	data := n.Data
	if limit := MaxLen - HeaderLen - 2; len(data) > limit {
		data = data[:limit]
	}
	return end(append(dst, data...), start)
}

// ParseNotification reads the body of a NOTIFICATION. Whatever is odd about one is only worth a log line (RFC 4271,
// section 6.4), so all that can fail is its length.
func ParseNotification(body []byte) (*Notification, error) {
	if len(body) < 2 {
		return nil, notify(CodeHeader, BadMessageLength, nil, "notification body of %d bytes", len(body))
	}
	return &Notification{Code: Code(body[0]), Subcode: Subcode(body[1]), Data: append([]byte(nil), body[2:]...)}, nil
}

func (n *Notification) communicates() bool {
	return n.Code == CodeCease && (n.Subcode == AdministrativeShutdown || n.Subcode == AdministrativeReset)
}

// Communication is the shutdown communication that the message carries, or "": safe to print, whatever was sent.
func (n *Notification) Communication() string {
	if inner := n.Inner(); inner != nil {
		return inner.Communication()
	}
	if !n.communicates() || len(n.Data) == 0 {
		return ""
	}
	size := int(n.Data[0])
	if size > len(n.Data)-1 {
		return ""
	}
	return sanitise(string(n.Data[1 : 1+size]))
}

// IsHardReset reports whether routes must not be kept through a graceful restart (RFC 8538, section 3).
func (n *Notification) IsHardReset() bool { return n.Code == CodeCease && n.Subcode == HardReset }

// Hard wraps the message in a hard reset (RFC 8538, section 3.1).
func (n *Notification) Hard() *Notification {
	if n.IsHardReset() {
		return n
	}
	return &Notification{Code: CodeCease, Subcode: HardReset, Data: append([]byte{byte(n.Code), byte(n.Subcode)}, n.Data...)}
}

// Inner is the message that a hard reset wraps, or nil.
func (n *Notification) Inner() *Notification {
	if !n.IsHardReset() || len(n.Data) < 2 {
		return nil
	}
	inner := &Notification{Code: Code(n.Data[0]), Subcode: Subcode(n.Data[1]), Data: n.Data[2:]}
	if inner.IsHardReset() {
		return nil // a hard reset in a hard reset means nothing, and could nest without end
	}
	return inner
}

// String says it for people: "cease: administrative shutdown", with the communication in quotes.
func (n *Notification) String() string {
	s := n.Code.String()
	if t := subcodeText(n.Code, n.Subcode); t != "" {
		s += ": " + t
	}
	if inner := n.Inner(); inner != nil {
		return s + " (" + inner.String() + ")"
	}
	if c := n.Communication(); c != "" {
		s += fmt.Sprintf(" %q", c)
	}
	return s
}

// sanitise makes text valid UTF-8 without control characters and cuts it at a character to 255 bytes.
func sanitise(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= maxCommunication {
		return text
	}
	n := maxCommunication
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// NotificationError is an error that ends a session: what to send to the neighbor, and what was wrong in our words.
type NotificationError struct {
	Notification *Notification
	Detail       string
}

func (e *NotificationError) Error() string {
	s := e.Notification.String()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func notify(c Code, s Subcode, data []byte, format string, args ...any) *NotificationError {
	return &NotificationError{
		Notification: &Notification{Code: c, Subcode: s, Data: append([]byte(nil), data...)},
		Detail:       fmt.Sprintf(format, args...),
	}
}
