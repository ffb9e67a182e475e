package rtnl

import (
	"context"
	"testing"
)

func TestFeatures(t *testing.T) {
	h := open(t)
	missing, err := h.Features(context.Background())
	if err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
}
