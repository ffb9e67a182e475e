package flow

import (
	"testing"

	"bothways/internal/route"
)

func TestJudge(t *testing.T) {
	circuit := route.NewLinkSet(1, 2)
	rows := []struct {
		name string
		s    Situation
		want Verdict
	}{
		{"in use", Situation{Lives: true, Reaches: true, Using: []route.Link{1}, SamePool: circuit}, Stay},
		{"sticky: another is better now", Situation{Lives: true, Reaches: true, Using: []route.Link{3}, SamePool: circuit}, Stay},
		{"a pin follows", Situation{Lives: true, Reaches: true, Pinned: true, Using: []route.Link{3}, SamePool: circuit}, Cut},
		{"a pin where it belongs", Situation{Lives: true, Pinned: true, Using: []route.Link{1}, SamePool: circuit}, Stay},
		{"withdrawn: the link no longer reaches it", Situation{Lives: true, Using: []route.Link{3}, SamePool: circuit}, Cut},
		{"dead, other link of the circuit lives", Situation{Reaches: true, Using: []route.Link{2}, SamePool: circuit}, Carry},
		{"dead, one of a shared tier has the pool", Situation{Using: []route.Link{3, 2}, SamePool: circuit}, Carry},
		{"dead, only an ISP lives", Situation{Reaches: true, Using: []route.Link{3}, SamePool: circuit}, Cut},
		{"dead, nothing lives", Situation{Reaches: true, SamePool: circuit}, Nowhere},
		{"dead, steered by a rule: what its table says, also to drop, holds for a new connection", Situation{Ruled: true, Using: []route.Link{2}, SamePool: circuit}, Cut},
		{"steered by a rule, alive", Situation{Ruled: true, Lives: true, Reaches: true, Using: []route.Link{2}, SamePool: circuit}, Stay},
		{"dead, no target: itself as if it lived", Situation{Reaches: true, Using: []route.Link{1}, SamePool: circuit}, Nowhere},
	}
	for _, row := range rows {
		if got := Judge(1, row.s); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}
