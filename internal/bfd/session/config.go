package session

import (
	"fmt"
	"net/netip"
	"time"

	"bothways/internal/bfd/fsm"
)

// Config is one session. It is known by its name; the intervals, the multiplier and AdminDown may change while it is
// up, anything else makes it another session.
type Config struct {
	Name            string // of the link, with the family where it has two sessions
	Interface       string
	Local, Neighbor netip.Addr

	Interval   time.Duration // between our packets
	MinReceive time.Duration // between the neighbor's; 0 is Interval
	Multiplier uint8         // how many packets may be missed
	AdminDown  bool          // the operator does not want it; the neighbor is told that this is no failure
}

func (c Config) params() fsm.Params {
	p := fsm.Params{Interval: c.Interval, MinReceive: c.MinReceive, Multiplier: c.Multiplier, AdminDown: c.AdminDown}
	if p.MinReceive == 0 {
		p.MinReceive = p.Interval
	}
	return p
}

// check says what no session can be made of.
func (c Config) check() error {
	p := c.params()
	p.Discriminator = 1
	if err := p.Check(); err != nil {
		return fmt.Errorf("session %q: %w", c.Name, err)
	}
	switch {
	case c.Name == "":
		return fmt.Errorf("session with %v: has no name", c.Neighbor)
	case c.Interface == "":
		return fmt.Errorf("session %s: has no interface", c.Name)
	case !c.Local.IsValid() || !c.Neighbor.IsValid() || c.Local.Is4() != c.Neighbor.Is4() || c.Local.Is4In6() || c.Neighbor.Is4In6():
		return fmt.Errorf("session %s: local address %v and neighbor %v, want two of one family", c.Name, c.Local, c.Neighbor)
	}
	return nil
}

// same reports whether a session can go on with another configuration.
func (c Config) same(d Config) bool {
	return c.Name == d.Name && c.Interface == d.Interface && c.Local == d.Local && c.Neighbor == d.Neighbor
}
