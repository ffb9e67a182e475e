package main

import (
	"fmt"
	"time"

	"bothways/bench/router"
	"bothways/bench/stat"
	"bothways/bench/stream"
)

// caseRestart is a new process of the daemon that takes over under packets.
func caseRestart(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{{Name: "packets lost"}, {Name: "sessions that ended"}, {Name: "nothing decided for, ms"}, {Name: "until it had taken over, s"}, {Name: "until reconciled, s"}}}
	better, worse := pair(b.routes)
	offers := []stream.Offer{{Table: better}, {Table: worse}}
	var all []variant
	for _, k := range b.kinds("Bothways") {
		all = append(all, variant{"Bothways, compressed", k, router.Setup{Kernel: true, Enhanced: true}})
		all = append(all, variant{"Bothways, `compress: false`", k, router.Setup{Kernel: true, Whole: true, Enhanced: true}})
		all = append(all, variant{"Bothways, compressed, neighbors without RFC 7313", k, router.Setup{Kernel: true}})
	}
	b.alternate(r, b.rounds, all, func(v variant) ([]float64, error) { return b.restart(v, offers) })
	return []section{{text: fmt.Sprintf("%d routes from each of two neighbors without graceful restart; `bothways restart` hands over to a new process, which asks them for everything again. Times are from the command. Reconciled is when all of it is in the RIB and the kernel holds what it shall. A neighbor that cannot mark the end of what it says again (RFC 7313) is done when it has been quiet for two seconds.", b.routes), result: r}}
}

func (b *bench) restart(v variant, offers []stream.Offer) ([]float64, error) {
	p, wants, err := b.filled(v, pairSite, offers)
	if err != nil {
		return nil, err
	}
	defer p.close()
	d := p.router.(*router.Bothways)
	var repeated []<-chan error
	for i := range offers {
		repeated = append(repeated, p.sessions[i].Repeat(stream.Encode(offers[i].Table, p.nextHop(i))))
	}
	st, err := p.Start(b.ctx, destinations(wants[:targets]), rate)
	if err != nil {
		return nil, err
	}
	defer st.Stop()
	time.Sleep(500 * time.Millisecond)
	at := time.Now()
	done, answered, err := d.Restart(b.ctx)
	if err != nil {
		return nil, err
	}
	for i, c := range repeated {
		select {
		case err := <-c:
			if err != nil {
				return nil, err
			}
		case <-time.After(patience):
			return nil, fmt.Errorf("%s was not asked for everything again", p.Peers[i].Name)
		}
	}
	if err := b.reconciled(d, at); err != nil {
		return nil, err
	}
	reconciled := time.Since(at)
	if _, err := p.Await(wants, patience); err != nil {
		return nil, err
	}
	time.Sleep(500 * time.Millisecond)
	st.Stop()
	lost, _ := st.Lost(at)
	ended := 0
	for _, s := range p.sessions {
		if s.Err() != nil {
			ended++
		}
	}
	return []float64{float64(lost), float64(ended), float64(done.Still), answered.Sub(at).Seconds(), reconciled.Seconds()}, nil
}

// reconciled waits until the daemon knows all routes and the kernel holds what it shall.
func (b *bench) reconciled(d *router.Bothways, since time.Time) error {
	for {
		s, err := d.Status(b.ctx)
		if err != nil {
			return err
		}
		if s.Mode == "full" && s.Kernel.Mode == "full" && s.Kernel.Behind == 0 && s.Kernel.Pending == 0 && s.Prefixes.IPv4 >= b.routes {
			return nil
		}
		if time.Since(since) > patience {
			return fmt.Errorf("not reconciled: %+v", s)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
