package policy

import (
	"testing"
	"time"
)

func TestSudden(t *testing.T) {
	h := LastGood{For: time.Minute, Share: 50}
	rows := []struct {
		h            LastGood
		before, lost int
		want         bool
	}{{h, 100, 49, false}, {h, 100, 50, true}, {h, 3, 3, false}, {h, 4, 4, true}, {LastGood{Share: 50}, 100, 100, false}}
	for _, row := range rows {
		if got := row.h.Sudden(row.before, row.lost); got != row.want {
			t.Errorf("%+v with %d of %d: %v", row.h, row.lost, row.before, got)
		}
	}
}
