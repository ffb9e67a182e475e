package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"bothways/internal/lab"
	"bothways/internal/lab/world"
)

// Names of the default world.
const (
	primary   = "expressroute/primary"
	secondary = "expressroute/secondary"
	ispA      = "isp-a/main"
	ispB      = "isp-b/main"
	pinned    = "vpn-gateway"
)

// Limits of what is claimed. A carrier is lost at once. A neighbor that falls silent has to be missed first, and sooner
// than BGP alone would miss it: isp-a's hold time is 9 s.
const (
	carrierLimit = 100 * time.Millisecond
	silentLimit  = 9 * time.Second
)

// Run goes through everything. The error is of what kept the tour from going on; claims that do not hold are none.
func (d *Demo) Run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.begin, d.allUp, d.waysBack, d.primaryFails, d.circuitFails, d.connectionsStay, d.ispFails, d.bothWays, d.ispFallsSilent, d.edgeDies, d.nothingLeaked,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// services are the provider's hosts that no rule pins.
func (d *Demo) services() []world.Host {
	var out []world.Host
	for _, h := range d.w.Description.Cloud {
		if h.Name != pinned {
			out = append(out, h)
		}
	}
	return out
}

func (d *Demo) hosts(names ...string) []world.Host {
	var out []world.Host
	for _, n := range names {
		if h, ok := d.w.Description.Host(n); ok {
			out = append(out, h)
		}
	}
	return out
}

func (d *Demo) circuit() way { return d.wayOf(primary, secondary) }

func (d *Demo) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d.say("A site with a circuit of two links, isp-a with BGP, isp-b without. The edge starts.")
	began := time.Now()
	if err := d.w.StartEdge(ctx, lab.EdgeOptions{Binary: d.program}); err != nil {
		return err
	}
	if err := lab.Eventually(ctx, func() error { return d.ready(ctx) }); err != nil {
		return fmt.Errorf("the edge and its neighbors do not come together: %w", err)
	}
	d.say("All sessions are up and services answer on all ways, %d ms after the edge's start.", time.Since(began).Milliseconds())
	return nil
}

// ready says what is missing for everything to be as it is meant.
func (d *Demo) ready(ctx context.Context) error {
	for _, r := range d.w.Description.Routers {
		if r.ASN == 0 {
			continue
		}
		sessions, err := d.w.Sessions(ctx, r.Name)
		if err != nil {
			return err
		}
		for _, s := range sessions {
			if !s.Established {
				return fmt.Errorf("%s: session with %s: %s", r.Name, s.Peer, s.State)
			}
		}
		if len(d.w.Learned(r.Name)) < len(d.w.Description.Path(r.PathName()).Announce) {
			return fmt.Errorf("%s: has learned %v only", r.Name, d.w.Learned(r.Name))
		}
	}
	for host, y := range map[string]way{"storage": d.circuit(), "registry": d.wayOf(ispA), pinned: d.wayOf(ispA)} {
		for _, h := range d.hosts(host) {
			for _, a := range h.Addresses {
				one, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				got, err := d.w.AskUDP(one, client, a)
				cancel()
				if err != nil || !y.fits(got) {
					return fmt.Errorf("%s at %s: %+v, %w", host, a, got, orNone(err))
				}
			}
		}
	}
	return nil
}

func orNone(err error) error {
	if err == nil {
		return fmt.Errorf("want another way")
	}
	return err
}

func (d *Demo) allUp(ctx context.Context) error {
	d.say("What services see of the site, by HTTP, ping and UDP:")
	d.see(ctx, "all up: 11 services", d.services(), d.circuit(), d.w.Ask)
	d.see(ctx, "all up: services, ping", d.hosts("storage", "sql"), d.circuit(), d.w.Ping)
	d.see(ctx, "all up: services, UDP", d.hosts("storage", "sql"), d.circuit(), d.w.AskUDP)
	d.see(ctx, "all up: the Internet", d.w.Description.Internet, d.wayOf(ispA), d.w.Ask)
	d.see(ctx, "all up: the Internet, ping", d.w.Description.Internet, d.wayOf(ispA), d.w.Ping)
	d.see(ctx, "all up: the VPN gateway", d.hosts(pinned), d.wayOf(ispA), d.w.Ask)
	d.see(ctx, "all up: the VPN gateway, ping", d.hosts(pinned), d.wayOf(ispA), d.w.Ping)
	return nil
}

func (d *Demo) primaryFails(ctx context.Context) error {
	var kept []*lab.Conn
	defer func() {
		for _, c := range kept {
			c.Close()
		}
	}()
	for range 8 {
		a, err := d.w.Address("storage", false)
		if err != nil {
			return err
		}
		c, err := d.w.Connect(ctx, client, a)
		if err != nil {
			return err
		}
		kept = append(kept, c)
	}
	d.say("The circuit's primary link loses its carrier.")
	if err := d.change(ctx, "primary fails", d.hosts("storage"), d.wayOf(secondary), carrierLimit, d.fail(ctx, false, primary)); err != nil {
		return err
	}
	d.see(ctx, "primary fails: 11 services, pool as before", d.services(), d.wayOf(secondary), d.w.Ask)
	alive := 0
	for _, c := range kept {
		if _, err := c.Ask(2 * time.Second); err == nil {
			alive++
		}
	}
	d.claim("primary fails: connections opened before go on", fmt.Sprintf("%d of %d", len(kept), len(kept)), fmt.Sprintf("%d of %d", alive, len(kept)), alive == len(kept))
	return d.restore(ctx, "primary heals", d.hosts("storage"), d.circuit())
}

// restore heals all and waits until the sessions are as at the beginning.
func (d *Demo) restore(ctx context.Context, name string, hosts []world.Host, y way) error {
	d.say("It heals.")
	if err := d.change(ctx, name, hosts, y, 0, d.heal(ctx)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := lab.Eventually(ctx, func() error { return d.ready(ctx) }); err != nil {
		d.claim(name+": all as before", "all sessions and ways as before", strings.TrimPrefix(err.Error(), context.DeadlineExceeded.Error()+": "), false)
	}
	return nil
}

func (d *Demo) circuitFails(ctx context.Context) error {
	d.say("Both links of the circuit lose their carrier, one right after the other.")
	if err := d.change(ctx, "circuit fails", d.hosts("storage", "web-b"), d.wayOf(ispA), carrierLimit, d.fail(ctx, false, primary, secondary)); err != nil {
		return err
	}
	d.see(ctx, "circuit fails: 11 services", d.services(), d.wayOf(ispA), d.w.Ask)
	d.see(ctx, "circuit fails: the VPN gateway", d.hosts(pinned), d.wayOf(ispA), d.w.Ask)
	return d.restore(ctx, "circuit heals", d.hosts("storage", "web-b"), d.circuit())
}

func (d *Demo) ispFails(ctx context.Context) error {
	d.say("isp-a loses its carrier.")
	return d.ispGone(ctx, "isp-a fails", "isp-a heals", carrierLimit, false)
}

func (d *Demo) ispFallsSilent(ctx context.Context) error {
	d.say("isp-a falls silent: the carrier stays, nothing passes.")
	return d.ispGone(ctx, "isp-a silent", "isp-a speaks again", silentLimit, true)
}

func (d *Demo) ispGone(ctx context.Context, name, healed string, limit time.Duration, silent bool) error {
	hosts := d.hosts(pinned, "registry")
	if err := d.change(ctx, name, hosts, d.wayOf(ispB), limit, d.fail(ctx, silent, ispA)); err != nil {
		return err
	}
	d.see(ctx, name+": the Internet", d.w.Description.Internet, d.wayOf(ispB), d.w.Ask)
	d.see(ctx, name+": the VPN gateway", d.hosts(pinned), d.wayOf(ispB), d.w.Ask)
	d.see(ctx, name+": 11 services", d.services(), d.circuit(), d.w.Ask)
	return d.restore(ctx, healed, hosts, d.wayOf(ispA))
}

// flow is a stream through the edge's death.
type flow struct {
	host string
	v6   bool
	pps  int
}

// edgeDies kills the edge with a stream on each way, and starts it again.
func (d *Demo) edgeDies(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	d.say("The edge is killed (-9) while packets stream both ways, and started again.")
	flows := []flow{{"storage", false, 10000}, {"storage", true, 1000}, {"registry", false, 1000}, {"registry", true, 1000}}
	var streams []*lab.Stream
	for _, f := range flows {
		to, err := d.w.Address(f.host, f.v6)
		if err != nil {
			return err
		}
		s, err := d.w.Stream(ctx, client, to, f.pps)
		if err != nil {
			return err
		}
		streams = append(streams, s)
	}
	stop := func() (out []lab.Loss) {
		for _, s := range streams {
			out = append(out, s.Stop())
		}
		return out
	}
	err := d.killAndRestart(ctx, streams)
	losses := stop()
	if err != nil {
		return err
	}
	for i, f := range flows {
		l := losses[i]
		d.claim(fmt.Sprintf("kill -9 and start: %s%s, %d packets/s", f.host, family(f.v6), f.pps), "0 lost out, 0 lost back", l.String(),
			l.Out+l.Back == 0 && l.Returned > 0)
	}
	return nil
}

func (d *Demo) killAndRestart(ctx context.Context, streams []*lab.Stream) error {
	flowing := func(n uint64) error {
		return lab.Eventually(ctx, func() error {
			for _, s := range streams {
				if l := s.Loss(); l.Returned < n {
					return fmt.Errorf("stream: %s", l)
				}
			}
			return nil
		})
	}
	if err := flowing(300); err != nil {
		return err
	}
	if err := d.w.KillEdge(); err != nil {
		return err
	}
	before := streams[0].Loss().Sent
	if err := lab.Eventually(ctx, func() error {
		if streams[0].Loss().Sent < before+5000 {
			return fmt.Errorf("the stream does not go on")
		}
		return nil
	}); err != nil {
		return err
	}
	if err := d.w.StartEdge(ctx, lab.EdgeOptions{Binary: d.program}); err != nil {
		return err
	}
	d.say("  it runs again, and waits for its neighbors")
	return lab.Eventually(ctx, func() error { return d.ready(ctx) })
}

func (d *Demo) nothingLeaked(context.Context) error {
	var pins, refused uint64
	for _, r := range d.w.Description.Routers {
		n, err := d.w.Refused(r.Name)
		if err != nil {
			return err
		}
		refused += n
		if r.Side != world.Circuit {
			continue
		}
		if n, err = d.w.PinnedSeen(r.Name); err != nil {
			return err
		}
		pins += n
	}
	d.claim("from start to end: packets to the VPN gateway on the circuit", "0", fmt.Sprint(pins), pins == 0)
	d.claim("from start to end: packets with a source that is not the site's there", "0", fmt.Sprint(refused), refused == 0)
	return nil
}
