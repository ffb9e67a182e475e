package rib

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"bothways/internal/policy"
)

// TestDocument holds docs/decision.md to the code: every step, reason and outcome stands in it, in the code's order.
func TestDocument(t *testing.T) {
	data, err := os.ReadFile("../../docs/decision.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	after := func(what, from string) {
		t.Helper()
		at := strings.Index(text, from)
		next := strings.Index(text, what)
		if at < 0 || next < at {
			t.Errorf("docs/decision.md: %q is missing or out of order", what)
		}
	}
	last := "## The order of candidates"
	for _, s := range Steps() {
		line := fmt.Sprintf("| %d | %s |", s.Step, s.Name)
		after(line, last)
		last = line
	}
	for r := policy.Accepted + 1; r <= policy.NotAccepted; r++ {
		after("| "+r.String()+" |", "## Which routes take part")
	}
	for o := Living; o <= NoWay; o++ {
		after("| "+o.String()+" |", "## Rankings")
	}
}
