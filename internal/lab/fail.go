package lab

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"bothways/internal/lab/farside"
	"bothways/internal/lab/world"
)

// Failure is what is wrong with a link, a session or a host.
type Failure struct {
	Failed bool `json:"failed"`
	// Silent: the carrier stays and nothing passes; of a session, the connection stays and nothing is heard.
	Silent bool `json:"silent,omitempty"`
}

// Names of what can fail: expressroute/primary, session:expressroute/primary, host:storage.
const (
	sessionPrefix = "session:"
	hostPrefix    = "host:"
)

// Fail makes a link, a session or a host fail. A link loses its carrier, a session is shut down, unless it is to happen
// silently: then the carrier, or the connection, stays, and nothing is heard any more.
func (w *World) Fail(ctx context.Context, name string, silent bool) error {
	return w.change(ctx, name, Failure{Failed: true, Silent: silent})
}

// Heal takes a failure back.
func (w *World) Heal(ctx context.Context, name string) error { return w.change(ctx, name, Failure{}) }

// HealAll takes all failures back.
func (w *World) HealAll(ctx context.Context) error {
	for name := range w.Failures() {
		if err := w.Heal(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Failures are what fails now, by name.
func (w *World) Failures() map[string]Failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.failures)
}

// change goes from any failure of a thing to any other.
func (w *World) change(ctx context.Context, name string, to Failure) error {
	w.changing.Lock()
	defer w.changing.Unlock()
	if host, ok := strings.CutPrefix(name, hostPrefix); ok {
		return w.changeHost(name, host, to)
	}
	session := strings.HasPrefix(name, sessionPrefix)
	r := w.Description.Router(strings.TrimPrefix(name, sessionPrefix))
	switch {
	case r == nil:
		return fmt.Errorf("no link, session or host %q in this world; it has %s", name, strings.Join(w.FailureNames(), ", "))
	case session && r.ASN == 0:
		return fmt.Errorf("%s has no session: its link speaks no BGP", r.Link)
	case session:
		name = sessionPrefix + r.Link
	default:
		name = r.Link
	}
	was := w.failure(name)
	if was == to {
		return nil
	}
	w.setFailure(name, to)
	w.log.Info("world changes", "what", name, "failed", to.Failed, "silent", to.Silent)
	if session {
		return w.changeSession(ctx, *r, was, to)
	}
	return w.changeLink(ctx, *r, was, to)
}

func (w *World) failure(name string) Failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failures[name]
}

func (w *World) setFailure(name string, f Failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.Failed {
		w.failures[name] = f
	} else {
		delete(w.failures, name)
	}
}

// FailureNames lists what can fail.
func (w *World) FailureNames() []string {
	var out []string
	for _, r := range w.Description.Routers {
		out = append(out, r.Link)
		if r.ASN != 0 {
			out = append(out, sessionPrefix+r.Link)
		}
	}
	for _, h := range slices.Concat(w.Description.Site.Hosts, w.Description.Cloud, w.Description.Internet) {
		out = append(out, hostPrefix+h.Name)
	}
	return out
}

func (w *World) changeLink(ctx context.Context, r world.Router, was, to Failure) error {
	n := w.spaces[r.Name]
	if was.Silent != to.Silent {
		var silent []string
		if to.Silent {
			silent = []string{siteInterface}
		}
		if err := n.Silence(silent); err != nil {
			return err
		}
	}
	down, wasDown := to.Failed && !to.Silent, was.Failed && !was.Silent
	switch {
	case down && !wasDown:
		if err := n.Down(siteInterface); err != nil {
			return err
		}
		// A router ends a session with its interface, rather than wait for the hold time.
		return w.routerDo(ctx, r, farside.Drop)
	case wasDown && !down:
		if err := n.Up(siteInterface, r.Addresses...); err != nil {
			return err
		}
		if err := w.assignedRoutes(r); err != nil {
			return err
		}
		return w.routerDo(ctx, r, farside.Add)
	}
	return nil
}

func (w *World) changeSession(ctx context.Context, r world.Router, was, to Failure) error {
	if was.Silent != to.Silent {
		var mute []string
		if to.Silent {
			mute = []string{siteInterface}
		}
		if err := w.spaces[r.Name].Mute(mute); err != nil {
			return err
		}
	}
	down, wasDown := to.Failed && !to.Silent, was.Failed && !was.Silent
	switch {
	case down && !wasDown:
		return w.routerDo(ctx, r, farside.Drop)
	case wasDown && !down:
		return w.routerDo(ctx, r, farside.Add)
	}
	return nil
}

// routerDo drops or adds a router's peers, where it has any and a second failure does not keep them away.
func (w *World) routerDo(ctx context.Context, r world.Router, v farside.Verb) error {
	link, session := w.failure(r.Link), w.failure(sessionPrefix+r.Link)
	linkDown, sessionDown := link.Failed && !link.Silent, session.Failed && !session.Silent
	if w.routers[r.Name] == nil || v == farside.Add && (linkDown || sessionDown) || v == farside.Drop && linkDown && sessionDown {
		return nil
	}
	return w.routers[r.Name].Do(ctx, v)
}

func (w *World) changeHost(name, host string, to Failure) error {
	if _, ok := w.Description.Host(host); !ok {
		return fmt.Errorf("no host %q in this world", host)
	}
	if w.failure(name) == to {
		return nil
	}
	w.setFailure(name, to)
	if n := w.spaces[host]; n != nil {
		if to.Failed {
			return n.Down("eth0")
		}
		return w.upInside(host)
	}
	for where, hosts := range map[string][]world.Host{Cloud: w.Description.Cloud, Internet: w.Description.Internet} {
		var dead []netip.Addr
		for _, h := range hosts {
			if w.failure(hostPrefix + h.Name).Failed {
				dead = append(dead, h.Addresses...)
			}
		}
		if err := w.filterHosts(where, dead); err != nil {
			return err
		}
	}
	return nil
}

// Announce and Withdraw change what a router announces to the edge, beside its feeds.
func (w *World) Announce(ctx context.Context, router string, prefixes ...netip.Prefix) error {
	return w.announce(ctx, router, farside.Announce, prefixes)
}

// Withdraw takes prefixes back.
func (w *World) Withdraw(ctx context.Context, router string, prefixes ...netip.Prefix) error {
	return w.announce(ctx, router, farside.Withdraw, prefixes)
}

func (w *World) announce(ctx context.Context, router string, v farside.Verb, prefixes []netip.Prefix) error {
	r, err := w.speaker(router)
	if err != nil {
		return err
	}
	return r.Do(ctx, v, prefixes...)
}

func (w *World) speaker(name string) (*farside.Router, error) {
	if r := w.Description.Router(name); r != nil && w.routers[r.Name] != nil {
		return w.routers[r.Name], nil
	}
	return nil, fmt.Errorf("no router %q with BGP in this world", name)
}

// Sessions are a router's sessions with the edge, as the router sees them.
func (w *World) Sessions(ctx context.Context, router string) ([]farside.Session, error) {
	r, err := w.speaker(router)
	if err != nil {
		return nil, err
	}
	return r.Sessions(ctx)
}

// Learned lists what the edge announces to a router, sorted.
func (w *World) Learned(router string) []netip.Prefix {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.Description.Router(router); r != nil {
		router = r.Name
	}
	return slices.SortedFunc(maps.Keys(w.learned[router]), netip.Prefix.Compare)
}

// Leave has a router announce everything with the community for a graceful shutdown (RFC 8326), or without it again.
func (w *World) Leave(ctx context.Context, router string, leaving bool) error {
	r, err := w.speaker(router)
	if err != nil {
		return err
	}
	return r.Leave(ctx, leaving)
}

// Prepend has a router drain its link as a provider does: its AS stands in front of what it announces so many times more.
func (w *World) Prepend(ctx context.Context, router string, count int) error {
	r, err := w.speaker(router)
	if err != nil {
		return err
	}
	return r.Prepend(ctx, count)
}
