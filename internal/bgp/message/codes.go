package message

import "fmt"

// Code is the error code of a NOTIFICATION (RFC 4271, section 4.5).
type Code uint8

// Error codes.
const (
	CodeHeader   Code = 1
	CodeOpen     Code = 2
	CodeUpdate   Code = 3
	CodeHold     Code = 4
	CodeFSM      Code = 5
	CodeCease    Code = 6
	CodeRefresh  Code = 7 // RFC 7313
	CodeSendHold Code = 8 // RFC 9687
)

func (c Code) String() string {
	switch c {
	case CodeHeader:
		return "message header error"
	case CodeOpen:
		return "open error"
	case CodeUpdate:
		return "update error"
	case CodeHold:
		return "hold timer expired"
	case CodeFSM:
		return "state machine error"
	case CodeCease:
		return "cease"
	case CodeRefresh:
		return "route-refresh error"
	case CodeSendHold:
		return "send hold timer expired"
	}
	return fmt.Sprintf("error %d", uint8(c))
}

// Subcode refines a Code; its meaning depends on it.
type Subcode uint8

// Subcodes of CodeHeader.
const (
	NotSynchronized  Subcode = 1
	BadMessageLength Subcode = 2
	BadMessageType   Subcode = 3
)

// Subcodes of CodeOpen.
const (
	UnsupportedVersion    Subcode = 1
	BadPeerAS             Subcode = 2
	BadIdentifier         Subcode = 3
	UnsupportedParameter  Subcode = 4
	UnacceptableHoldTime  Subcode = 6
	UnsupportedCapability Subcode = 7  // RFC 5492
	RoleMismatch          Subcode = 11 // RFC 9234
)

// Subcodes of CodeUpdate.
const (
	MalformedAttributeList Subcode = 1
	UnrecognizedAttribute  Subcode = 2
	MissingAttribute       Subcode = 3
	AttributeFlagsError    Subcode = 4
	AttributeLengthError   Subcode = 5
	InvalidOrigin          Subcode = 6
	InvalidNextHop         Subcode = 8
	OptionalAttributeError Subcode = 9
	InvalidNetworkField    Subcode = 10
	MalformedASPath        Subcode = 11
)

// Subcodes of CodeFSM (RFC 6608).
const (
	UnexpectedInOpenSent    Subcode = 1
	UnexpectedInOpenConfirm Subcode = 2
	UnexpectedInEstablished Subcode = 3
)

// Subcodes of CodeCease (RFC 4486).
const (
	MaximumPrefixes          Subcode = 1
	AdministrativeShutdown   Subcode = 2
	PeerDeconfigured         Subcode = 3
	AdministrativeReset      Subcode = 4
	ConnectionRejected       Subcode = 5
	OtherConfigurationChange Subcode = 6
	CollisionResolution      Subcode = 7
	OutOfResources           Subcode = 8
	HardReset                Subcode = 9  // RFC 8538
	BFDDown                  Subcode = 10 // RFC 9384
)

// InvalidRefreshLength is the subcode of CodeRefresh (RFC 7313).
const InvalidRefreshLength Subcode = 1

// subcodeText is what a subcode means to a person, or "".
func subcodeText(c Code, s Subcode) string {
	var texts []string
	switch c {
	case CodeHeader:
		texts = []string{"", "connection not synchronized", "bad message length", "bad message type"}
	case CodeOpen:
		texts = []string{"", "unsupported version", "bad peer AS", "bad router id", "unsupported optional parameter", "",
			"unacceptable hold time", "unsupported capability", "", "", "", "role mismatch"}
	case CodeUpdate:
		texts = []string{"", "malformed attribute list", "unrecognized well-known attribute", "missing well-known attribute",
			"attribute flags error", "attribute length error", "invalid origin", "", "invalid next hop",
			"optional attribute error", "invalid network field", "malformed AS path"}
	case CodeFSM:
		texts = []string{"", "unexpected message in open-sent", "unexpected message in open-confirm",
			"unexpected message in established"}
	case CodeCease:
		texts = []string{"", "maximum number of prefixes reached", "administrative shutdown", "peer de-configured",
			"administrative reset", "connection rejected", "other configuration change",
			"connection collision resolution", "out of resources", "hard reset", "BFD down"}
	case CodeRefresh:
		texts = []string{"", "invalid message length"}
	}
	if int(s) < len(texts) && texts[s] != "" {
		return texts[s]
	}
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("subcode %d", uint8(s))
}
