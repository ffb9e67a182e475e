package main

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"bothways/bench/router"
	"bothways/bench/site"
	"bothways/bench/stat"
	"bothways/bench/stream"
)

// forwardRounds is how often each of the two is measured, in turn.
const forwardRounds = 7

// caseForward is what the whole ruleset costs a packet, beside a bare translation.
func caseForward(b *bench) []section {
	r := &stat.Result{Columns: []stat.Column{{Name: "packets/s", Ratio: true}, {Name: "new connections/s", Ratio: true}}}
	ours := b.kinds("Bothways")
	if len(ours) == 0 {
		return nil
	}
	bare, err := bareSite()
	if err != nil {
		r.Fail("bare snat by map", err.Error())
		return []section{{result: r}}
	}
	defer bare.Close()
	better, worse := pair(1000)
	p, err := b.start(variant{"Bothways", ours[0], router.Setup{NAT: true}}, pairSite)
	if err != nil {
		r.Fail("Bothways", err.Error())
		return []section{{result: r}}
	}
	defer p.close()
	wants, err := p.fill([]stream.Offer{{Table: better}, {Table: worse}})
	if err == nil {
		err = bare.Answer(destinations(wants[:targets]))
	}
	if err != nil {
		r.Fail("Bothways", err.Error())
		return []section{{result: r}}
	}
	to := destinations(wants[:targets])
	for range forwardRounds {
		for _, x := range []struct {
			name string
			site *site.Site
		}{{"bare snat by map", bare}, {"Bothways", p.Site}} {
			values, err := forward(x.site, to)
			if err != nil {
				r.Fail(x.name, err.Error())
				continue
			}
			r.Add(x.name, values...)
			b.log.Info("measured", "row", x.name, "values", fmt.Sprintf("%.0f", values))
		}
	}
	return []section{{text: "64-byte packets through the router as fast as one sender can make them: many of one connection, then each the first of its own. Bothways with all its chains (marks, sets, maps, guards) and a pool for each path, beside a router with a default route and one rule that translates by a map. The two take turns.", result: r}}
}

func forward(s *site.Site, to []netip.Addr) ([]float64, error) {
	packets, err := s.Blast(to[:1], 1, 1500*time.Millisecond)
	if err != nil {
		return nil, err
	}
	connections, err := s.Blast(to, 200_000, 3*time.Second)
	if err != nil {
		return nil, err
	}
	// The connections must not fill the table for the next round.
	return []float64{packets, connections}, s.Edge.Do(func() error { return exec.Command("conntrack", "-F").Run() })
}

// bareSite is a site whose router only translates.
func bareSite() (*site.Site, error) {
	s, err := site.New(pairSite)
	if err != nil {
		return nil, err
	}
	err = s.BareNAT(router.Pool(s, s.Peers[0]), func(script string) error {
		return s.Edge.Do(func() error {
			cmd := exec.Command("nft", "-f", "-")
			cmd.Stdin = strings.NewReader(script)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("nft: %w: %s", err, out)
			}
			return nil
		})
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
