package reconcile

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

// TestFailoverIsOneWrite: the quick half of a failover is written also where the routes behind it are there before anything
// was: they have another group by then, and packets wait for none of them.
func TestFailoverIsOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		b.Ruleset = &kstate.Ruleset{Chains: []kstate.NftChain{{Name: "srcnat", Hook: kstate.Postrouting, Type: kstate.NATChain}}}
		sticks := kstate.Rule{Family: route.IPv4, Priority: kstate.PriorityLink + 1, Table: kstate.Table + 1, Mark: 1, Mask: 255, SuppressPrefixLength: -1}
		b.Objects.Rules = []kstate.Rule{sticks}
		link := b.Objects.Nexthops[0]
		link.ID = sticks.Nexthop()
		b.Objects.Nexthops = append(b.Objects.Nexthops, link)
		f.r.Submit(b.Batch)
		synctest.Wait()
		f.kernel.Applied()
		at := slices.IndexFunc(b.Objects.Nexthops, kstate.Nexthop.Group)
		moved := b.Objects.Nexthops[at]
		moved.Members = []kstate.Member{{ID: b.Objects.Nexthops[1].ID, Weight: 1}}
		if slices.Equal(moved.Members, b.Objects.Nexthops[at].Members) {
			moved.Members[0].ID = b.Objects.Nexthops[0].ID
		}
		own := moved
		own.ID++
		quick, rest := b.Batch, b.Batch
		quick.Sequence, quick.Ruleset, quick.Routes = 2, nil, nil
		quick.Objects.Rules, rest.Objects.Rules = nil, nil
		quick.Objects.Nexthops = slices.Clone(b.Objects.Nexthops)
		quick.Objects.Nexthops[at] = moved
		rest.Sequence, rest.Ruleset = 3, nil
		rest.Objects.Nexthops = append(slices.Delete(slices.Clone(b.Objects.Nexthops), at, at+1), own)
		rest.Routes = slices.Clone(b.Routes)
		rest.Routes[0].Route.Nexthop = own.ID
		f.r.mu.Lock() // both are there before the loop looks
		f.r.inbox = append(f.r.inbox, quick, rest)
		f.r.mu.Unlock()
		poke(f.r.wake)
		synctest.Wait()
		var got []string
		for _, c := range f.kernel.Applied() {
			got = append(got, c.String())
		}
		want := []string{kstate.PutNexthop(moved).String(), kstate.DeleteRule(sticks).String()}
		if len(got) < 2 || !slices.Equal(got[:2], want) || !slices.Contains(got, kstate.PutRoute(rest.Routes[0].Route).String()) {
			t.Errorf("wrote %q, want %q first", got, want)
		}
	})
}

// TestLostIsNotApplied: the quick half of a failover that lost a carrier is not applied before the routes are back that the kernel
// took with it.
func TestLostIsNotApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		b.Ruleset = &kstate.Ruleset{Chains: []kstate.NftChain{{Name: "srcnat", Hook: kstate.Postrouting, Type: kstate.NATChain}}}
		f.r.Submit(b.Batch)
		synctest.Wait()
		quick := b.Batch
		quick.Sequence, quick.Ruleset, quick.Routes, quick.Lost = 2, nil, nil, []int{1}
		quick.Objects.Nexthops = slices.Clone(b.Objects.Nexthops[1:])
		quick.Objects.Nexthops[1].Members = []kstate.Member{{ID: quick.Objects.Nexthops[0].ID, Weight: 1}}
		rest := quick
		rest.Sequence, rest.Lost = 3, nil
		f.kernel.SetCarrier(1, false)
		f.r.note = func(n Note) {
			if n.Kind == "applied" && !strings.Contains(f.kernel.String(), "4.0.0.0/8") {
				t.Errorf("applied %d without the route", n.Sequence)
			}
		}
		f.r.mu.Lock() // both are there before the loop looks
		f.r.inbox = append(f.r.inbox, quick, rest)
		f.r.mu.Unlock()
		poke(f.r.wake)
		synctest.Wait()
		if s := f.r.Status(); s.Sequence != 3 || s.Refused != 0 {
			t.Errorf("at %d, refused %d", s.Sequence, s.Refused)
		}
	})
}

// TestARuleGoesWithItsNexthopBack: the rule of a link that lost its carrier, has it again and is dead is deleted, though the nexthop
// was not there when that began and is there when it ends.
func TestARuleGoesWithItsNexthopBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, false)
		defer f.stop()
		b := f.batch()
		b.Objects.Nexthops[0].ID = kstate.LinkNexthop(1, route.IPv4)
		b.Objects.Nexthops[2].Members[0].ID = b.Objects.Nexthops[0].ID
		b.Objects.Rules = append(b.Objects.Rules, kstate.Rule{Family: route.IPv4, Priority: kstate.PriorityLink + 1, Table: kstate.Table + 1, Mark: 1, Mask: 255, SuppressPrefixLength: -1})
		f.r.Submit(b.Batch)
		synctest.Wait()
		f.kernel.SetCarrier(1, false)
		f.kernel.SetCarrier(1, true)
		b.Sequence, b.Routes, b.Lost, b.Objects.Rules = 2, nil, []int{1}, b.Objects.Rules[:1]
		f.r.Submit(b.Batch)
		synctest.Wait()
		if text := f.kernel.String(); strings.Contains(text, "fwmark") || !strings.Contains(text, "dev #1") {
			t.Errorf("the kernel holds\n%s", text)
		}
	})
}
