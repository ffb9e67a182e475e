package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Config is what is probed by one link.
type Config struct {
	Link      string
	Interface string
	Source4   netip.Addr // of probes; needed where there are IPv4 targets
	Source6   netip.Addr
	Mark      uint32 // SO_MARK of probes, so that they take the link's own table; 0 is none
	Every     time.Duration
	Timeout   time.Duration // at most Every, so that results come in the order of their probes; 0 is Every
	Targets   []Target
}

func (c Config) source(a netip.Addr) netip.Addr {
	if a.Is4() {
		return c.Source4
	}
	return c.Source6
}

func (c Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return c.Every
	}
	return c.Timeout
}

// check says what cannot be probed.
func (c Config) check() error {
	switch {
	case c.Link == "":
		return fmt.Errorf("probes: link has no name")
	case c.Interface == "":
		return fmt.Errorf("link %s: probes: no interface", c.Link)
	case c.Every < 10*time.Millisecond:
		return fmt.Errorf("link %s: probes every %v, want 10ms or more", c.Link, c.Every)
	case c.timeout() < time.Millisecond || c.timeout() > c.Every:
		return fmt.Errorf("link %s: probes time out after %v, want 1ms to %v, which is how often they are sent", c.Link, c.Timeout, c.Every)
	}
	seen := map[string]bool{}
	for _, t := range c.Targets {
		if err := t.check(); err != nil {
			return fmt.Errorf("link %s: probes: %w", c.Link, err)
		}
		if seen[t.String()] {
			return fmt.Errorf("link %s: probes: target %v is there twice", c.Link, t)
		}
		seen[t.String()] = true
		if s := c.source(t.Address); !s.IsValid() || s.Is4() != t.Address.Is4() {
			return fmt.Errorf("link %s: probes: no source address for %v", c.Link, t)
		}
	}
	return nil
}

func (c Config) equal(d Config) bool {
	return c.Link == d.Link && c.Interface == d.Interface && c.Source4 == d.Source4 && c.Source6 == d.Source6 &&
		c.Mark == d.Mark && c.Every == d.Every && c.Timeout == d.Timeout && slices.Equal(c.Targets, d.Targets)
}
