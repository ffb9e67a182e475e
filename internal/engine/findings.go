package engine

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bothways/internal/config"
	"bothways/internal/kstate"
)

// captureTime is how long after its last packet a VPN counts as captured: dead peers are looked for more often.
const captureTime = 2 * time.Minute

// captured are the gateways that IKE was spoken with by a circuit, and when last.
type captured map[string]map[netip.Addr]time.Time

// gatewaysSpeak takes whom IKE is spoken with by a circuit.
func (e *Engine) gatewaysSpeak(ev Captured) {
	seen := e.captured[ev.Path]
	if seen == nil {
		seen = map[netip.Addr]time.Time{}
		e.captured[ev.Path] = seen
	}
	e.forgetCaptured()
	for _, a := range ev.Gateways {
		if e.keptOff(a, ev.Path) {
			continue // its connection is about to move, or the address is left from before the pin
		}
		if last, known := seen[a]; !known || e.now.Sub(last) > captureTime {
			e.note("vpn", ev.Path, captureText(a, e.cfg))
		}
		seen[a] = e.now
		e.changed = true
	}
	e.at(dueKey{what: "findings"}, captureTime+time.Second)
}

// forgetCaptured drops those that have not been spoken with for long.
func (e *Engine) forgetCaptured() {
	for _, seen := range e.captured {
		maps.DeleteFunc(seen, func(_ netip.Addr, last time.Time) bool { return e.now.Sub(last) > captureTime })
	}
}

// keptOff reports whether a rule for the address alone keeps it off a path.
func (e *Engine) keptOff(a netip.Addr, path string) bool {
	host := netip.PrefixFrom(a, a.BitLen())
	for _, s := range e.cfg.Steer {
		if slices.Contains(s.To, host) && !s.Selective() {
			return s.Drop && !slices.Contains(slices.Concat(s.Use...), path)
		}
	}
	return false
}

func captureText(a netip.Addr, c *config.Config) string {
	var others []string
	for _, p := range c.Paths {
		if !p.Provider.Circuit {
			others = append(others, p.Name)
		}
	}
	return fmt.Sprintf("the VPN gateway %s is captured: IKE leaves by this circuit; pin it: {name: vpn, to: [%s/%d], use: [%s], otherwise: drop}",
		a, a, a.BitLen(), strings.Join(others, ", "))
}

// pinRouted takes where the kernel would send a packet to a pinned address: an interface, or 0 for none.
func (e *Engine) pinRouted(ev PinRouted) {
	before := e.pinText(ev.Address)
	e.pinRoutes[ev.Address] = ev.Index
	if text := e.pinText(ev.Address); text != before {
		e.changed = true
		name := "?"
		if s := e.pinOf(ev.Address); s != nil {
			name = s.Name
		}
		if text == "" {
			text = fmt.Sprintf("%s is routed to a link again", ev.Address)
		}
		e.note("pin", name, text)
	}
}

// pinText says what is wrong with the route of a pinned address; empty: nothing is.
func (e *Engine) pinText(a netip.Addr) string {
	index := e.pinRoutes[a]
	i := slices.IndexFunc(e.interfaces, func(in kstate.Interface) bool { return in.Index == index })
	if index == 0 || i < 0 || slices.ContainsFunc(e.links, func(l *link) bool { return l.index == index }) {
		return ""
	}
	return fmt.Sprintf("%s is routed into %s, which is no link: a route of others in the table main covers it", a, e.interfaces[i].Name)
}

func (e *Engine) pinOf(a netip.Addr) *config.Steer {
	host := netip.PrefixFrom(a, a.BitLen())
	for i, s := range e.cfg.Steer {
		if s.Pin() && slices.Contains(s.To, host) {
			return &e.cfg.Steer[i]
		}
	}
	return nil
}

// pinned are the addresses of pins, for those who look where the kernel sends them.
func (e *Engine) pinned() []netip.Addr {
	var out []netip.Addr
	for _, s := range e.cfg.Steer {
		if s.Pin() && !s.Selective() {
			for _, to := range s.To {
				out = append(out, to.Addr())
			}
		}
	}
	return out
}

// findings are what is wrong with the configuration and cannot be seen in the file, in order.
func (e *Engine) findings() []config.Finding {
	var out []config.Finding
	for path, seen := range e.captured {
		for a, last := range seen {
			if e.now.Sub(last) <= captureTime && !e.keptOff(a, path) {
				out = append(out, config.Finding{Severity: config.SeverityWarning, Subject: "path " + path, Text: captureText(a, e.cfg), Reason: "the provider's prefixes cover its own VPN gateways, and a gateway that is reached by the circuit does not answer as the Internet's, or not at all"})
			}
		}
	}
	for _, a := range e.pinned() {
		if text := e.pinText(a); text != "" {
			out = append(out, config.Finding{Severity: config.SeverityError, Subject: "steer " + e.pinOf(a).Name, Text: text, Reason: "if that is the tunnel whose end the address is, its own packets go into it and it never comes up"})
		}
	}
	slices.SortFunc(out, func(x, y config.Finding) int {
		return cmp.Or(cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Text, y.Text))
	})
	return out
}
