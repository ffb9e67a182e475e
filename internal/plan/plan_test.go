package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bothways/internal/kstate"
	"bothways/internal/route"
)

func single(id int, dev int) kstate.Nexthop {
	return kstate.Nexthop{ID: kstate.LinkNexthop(route.Link(id), route.IPv4), Family: route.IPv4, Interface: dev, Gateway: netip.MustParseAddr("192.0.2.2")}
}

func group(id int, members ...int) kstate.Nexthop {
	g := kstate.Nexthop{ID: kstate.GroupFirst + kstate.NexthopID(id), Family: route.IPv4}
	for _, m := range members {
		g.Members = append(g.Members, kstate.Member{ID: kstate.LinkNexthop(route.Link(m), route.IPv4), Weight: 1})
	}
	return g
}

func mainRule() kstate.Rule {
	return kstate.Rule{Family: route.IPv4, Priority: kstate.PriorityMain, Table: kstate.MainTable}
}

func TestOrder(t *testing.T) {
	sticks := kstate.Rule{Family: route.IPv4, Priority: 9801, Table: 9801, Mark: 1, Mask: 255}
	steers := kstate.Rule{Family: route.IPv4, Priority: kstate.PrioritySteer, Table: kstate.SteerTable, Mark: 255, Mask: 255}
	actual := Objects{Nexthops: []kstate.Nexthop{single(1, 1), group(1, 1)}, Rules: []kstate.Rule{sticks, steers}}
	desired := Objects{Nexthops: []kstate.Nexthop{group(2, 2), single(2, 2)}, Rules: []kstate.Rule{mainRule()}}
	s := Diff(actual, desired)
	var got []string
	for _, c := range slices.Concat(s.Before, s.Unstick, s.After) {
		f := strings.Fields(c.String())
		got = append(got, f[0]+" "+f[1])
	}
	want := []string{"rule add", "nexthop replace", "nexthop replace", "rule del", "rule del", "nexthop del", "nexthop del"}
	if !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
	if s.Before[1].Nexthop.Group() || !s.Before[2].Nexthop.Group() {
		t.Error("a group is put before its members")
	}
	if len(s.Unstick) != 1 || *s.Unstick[0].Rule != sticks {
		t.Errorf("unsticks by %v", s.Unstick)
	}
	actual.Nexthops = nil
	if s := Diff(actual, desired); len(s.Unstick) != 0 || len(s.After) != 2 {
		t.Errorf("unsticks by %v from a link that the kernel has lost", s.Unstick)
	}
	if !s.After[1].Nexthop.Group() || s.After[2].Nexthop.Group() {
		t.Error("a member is deleted before its group")
	}
}

// TestDiffApplies holds that applying the steps to the actual state gives the desired one, and that equals have none.
func TestDiffApplies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Objects {
			var o Objects
			for i := range 4 {
				if rapid.Bool().Draw(t, name+" single") {
					o.Nexthops = append(o.Nexthops, single(i, rapid.IntRange(1, 2).Draw(t, "dev")))
				}
				if rapid.Bool().Draw(t, name+" group") {
					o.Nexthops = append(o.Nexthops, group(i, rapid.IntRange(0, 3).Draw(t, "member")))
				}
				if rapid.Bool().Draw(t, name+" rule") {
					o.Rules = append(o.Rules, kstate.Rule{Family: route.IPv4, Priority: uint32(9801 + i), Table: uint32(rapid.IntRange(9801, 9802).Draw(t, "table"))})
				}
			}
			return o
		}
		actual, desired := draw("actual"), draw("desired")
		s := Diff(actual, desired)
		got := apply(actual, slices.Concat(s.Before, s.Unstick, s.After))
		if again := Diff(got, desired); !again.Empty() {
			t.Fatalf("after the steps there is still %v", again)
		}
		if !Diff(desired, desired).Empty() {
			t.Fatal("equals differ")
		}
	})
}

func apply(o Objects, changes []kstate.Change) Objects {
	for _, c := range changes {
		if c.Nexthop != nil {
			o.Nexthops = slices.DeleteFunc(slices.Clone(o.Nexthops), func(n kstate.Nexthop) bool { return n.ID == c.Nexthop.ID })
			if c.Verb == kstate.Put {
				o.Nexthops = append(o.Nexthops, *c.Nexthop)
			}
		}
		if c.Rule != nil {
			o.Rules = slices.DeleteFunc(slices.Clone(o.Rules), func(r kstate.Rule) bool { return r == *c.Rule })
			if c.Verb == kstate.Put {
				o.Rules = append(o.Rules, *c.Rule)
			}
		}
	}
	return o
}

func TestRestart(t *testing.T) {
	start := time.Unix(1000, 0)
	rows := []struct {
		name    string
		restart Restart
		after   time.Duration
		waiting int
		want    Mode
	}{
		{"nothing was found", Restart{}, 0, 3, Full},
		{"found, neighbors missing", Restart{Found: true}, 0, 3, Hold},
		{"found, a link died", Restart{Found: true, Failed: true}, 0, 3, Adopt},
		{"found, all said", Restart{Found: true, Failed: true}, 0, 0, Full},
		{"found, too late", Restart{Found: true}, time.Minute, 1, Full},
	}
	for _, row := range rows {
		row.restart.Deadline = start.Add(time.Minute)
		next, mode := row.restart.Next(start.Add(row.after), row.waiting)
		if mode != row.want {
			t.Errorf("%s: %s, want %s", row.name, mode, row.want)
		}
		if _, again := next.Next(start, 5); mode == Full && again != Full {
			t.Errorf("%s: full, then %s", row.name, again)
		}
	}
}
