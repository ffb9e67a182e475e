package demo

import (
	"context"
	"fmt"

	v1 "bothways/internal/api/v1"
	"bothways/internal/lab"
)

// waysBack has the edge prove, before anything fails, that replies to the pools of every link come back by its path. Whom it
// asks it knows from the connections that were answered by now.
func (d *Demo) waysBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	proven, waiting := map[string]int{}, ""
	err := lab.Eventually(ctx, func() error {
		var list []v1.Proof
		if err := d.w.Show(ctx, "proofs", &list); err != nil {
			return err
		}
		clear(proven)
		waiting = ""
		for _, p := range list {
			switch {
			case p.Kind == "own":
			case p.Verdict == "same path":
				proven[p.Path]++
			default:
				waiting = fmt.Sprintf("%s as %s: %s, %s", p.Link, p.Address, p.Verdict, p.Why)
			}
		}
		if waiting != "" || len(proven) == 0 {
			return fmt.Errorf("not proven yet: %s", waiting)
		}
		return nil
	})
	d.claim("the ways back, of standby links too", "replies to every pool by its own path", seen(proven, waiting), err == nil)
	return nil
}

func seen(proven map[string]int, waiting string) string {
	if waiting != "" {
		return waiting
	}
	return fmt.Sprintf("%d addresses of the circuit, %d of isp-a, %d of isp-b", proven["expressroute"], proven["isp-a"], proven["isp-b"])
}
