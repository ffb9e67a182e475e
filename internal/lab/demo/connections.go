package demo

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// connectionsStay opens connections and a stream while the circuit is dead, and has it come back: what is open stays on
// isp-a, what is new takes the circuit, and the edge says how many stay.
func (d *Demo) connectionsStay(ctx context.Context) error {
	d.say("The circuit dies, and 200 connections and a stream are opened on isp-a.")
	services := d.hosts("storage", "web-b")
	if err := d.change(ctx, "circuit fails again", services, d.wayOf(ispA), carrierLimit, d.fail(ctx, false, primary, secondary)); err != nil {
		return err
	}
	var to []netip.Addr
	for _, h := range services {
		to = append(to, h.Addresses...)
	}
	crowd, err := d.w.Crowd(ctx, client, to, 200)
	if err != nil {
		return err
	}
	defer crowd.Close()
	stream, err := d.w.Stream(ctx, client, to[0], 1000)
	if err != nil {
		return err
	}
	err = d.restore(ctx, "circuit comes back", services, d.circuit())
	if err == nil {
		err = d.staying(ctx, crowd.Len())
	}
	broken := crowd.Ask(5 * time.Second)
	loss := stream.Stop()
	if err != nil {
		return err
	}
	d.claim("circuit comes back: connections on isp-a go on", fmt.Sprintf("%[1]d of %[1]d", crowd.Len()),
		fmt.Sprintf("%d of %d", crowd.Len()-len(broken), crowd.Len()), len(broken) == 0)
	d.claim("circuit comes back: a stream on isp-a, 1000 packets/s", "0 lost out, 0 lost back, one address", fmt.Sprintf("%s, %d changes", loss, loss.Changes),
		loss.Out+loss.Back == 0 && loss.Changes == 0 && loss.Returned > 0)
	return nil
}

// staying claims that the edge counts what stays on isp-a.
func (d *Demo) staying(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	count := 0
	err := lab.Eventually(ctx, func() error {
		var links []v1.Link
		if err := d.w.Show(ctx, "links", &links); err != nil {
			return err
		}
		count = 0
		for _, l := range links {
			if l.Name == ispA {
				count += l.Staying
			}
		}
		if count < n {
			return fmt.Errorf("%d connections are counted", count)
		}
		return nil
	})
	d.claim("circuit comes back: the edge says what stays on isp-a", fmt.Sprintf("at least %d connections", n), fmt.Sprintf("%d", count), err == nil)
	return nil
}

// bothWays claims that everything so far came back by the way that it left by, as the edge's kernel counted it.
func (d *Demo) bothWays(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var a v1.Asymmetry
	if err := d.w.Show(ctx, "asymmetry", &a); err != nil {
		return err
	}
	var packets uint64
	for _, p := range a.Pairs {
		packets += p.Packets
	}
	d.claim("since the edge's start: packets that came back by another path than they left by", "0", fmt.Sprint(packets), packets == 0)
	return nil
}
