package stat

import (
	"math"
	"strings"
	"testing"
)

func TestSeries(t *testing.T) {
	for _, tt := range []struct {
		in     Series
		median float64
		text   string
	}{
		{Series{3, 1, 2}, 2, "2 (1–3)"},
		{Series{4, 1, 2, 3}, 2.5, "2.50 (1–4)"},
		{Series{0.5}, 0.5, "0.50"},
		{Series{0.0123, 0.0456, 0.0789}, 0.0456, "0.0456 (0.0123–0.0789)"},
		{Series{123.4, 5678.9, 200.2}, 200.2, "200 (123–5679)"},
	} {
		if got := tt.in.Median(); got != tt.median {
			t.Errorf("median of %v: %v, want %v", []float64(tt.in), got, tt.median)
		}
		if got := tt.in.String(); got != tt.text {
			t.Errorf("%v: %q, want %q", []float64(tt.in), got, tt.text)
		}
	}
	if got := (Series{}).Median(); !math.IsNaN(got) {
		t.Errorf("median of nothing: %v", got)
	}
	in := Series{3, 1, 2}
	in.Median()
	if in[0] != 3 {
		t.Error("the median reorders the rounds")
	}
	if got := (Series{5}).Ratio(Series{2}); got != "2.50×" {
		t.Errorf("ratio %q", got)
	}
	for _, base := range []Series{nil, {0}} {
		if got := (Series{5}).Ratio(base); got != "–" {
			t.Errorf("ratio to %v: %q", base, got)
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := &Result{Columns: []Column{{Name: "load s", Ratio: true}, {Name: "CPU s"}}}
	r.Add("ours", 1, 2)
	r.Add("theirs", 3, 1)
	r.Add("ours", 2, math.NaN())
	r.Fail("absent", "not installed")
	want := strings.TrimLeft(`
| | load s | × | CPU s |
|---|---|---|---|
| ours | 1.50 (1–2) | 1 | 2 |
| theirs | 3 | 2× | 1 |
| absent | – | – | – |

absent: not installed.
`, "\n")
	if got := r.Markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestOf(t *testing.T) {
	r := Result{Columns: []Column{{Name: "late", Of: true}}}
	for _, v := range []float64{0, 1, 0, 1, 0} {
		r.Add("x", v)
	}
	if got, want := r.Markdown(), "| | late |\n|---|---|\n| x | 2 of 5 |\n"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
}
