package probe

import (
	"fmt"
	"net/netip"
	"time"

	"bothways/internal/track"
)

// Result is one probe.
type Result struct {
	Link   string
	Target Target
	Sent   time.Time
	OK     bool
	RTT    time.Duration // where OK
	Why    string        // where not
	Used   Used
}

// Used is what a probe really used: where there is an answer, the address that it came to and the interface that it
// came by.
type Used struct {
	Source    netip.Addr
	Interface string
	Mark      uint32
}

// Track is the result as package track takes it.
func (r Result) Track() track.ProbeResult {
	return track.ProbeResult{Target: r.Target.String(), OK: r.OK, RTT: r.RTT, Why: r.Why}
}

// String is one line.
func (r Result) String() string {
	said := r.Why
	if r.OK {
		said = r.RTT.String()
	}
	return fmt.Sprintf("%s: %v from %v by %s: %s", r.Link, r.Target, r.Used.Source, r.Used.Interface, said)
}
