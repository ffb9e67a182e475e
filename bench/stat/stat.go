// Package stat holds what is measured, and writes it as medians with their ranges.
package stat

import (
	"fmt"
	"math"
	"slices"
)

// Series is what several rounds measured of one thing, all in one unit.
type Series []float64

// Median is the middle value, the mean of the two in the middle where their number is even, NaN where there is none.
func (s Series) Median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// String is the median with the range, "3.2 (3.1–4.0)"; one value alone is without a range, none is a dash.
func (s Series) String() string {
	if len(s) == 0 {
		return "–"
	}
	m := number(s.Median())
	if len(s) == 1 {
		return m
	}
	return fmt.Sprintf("%s (%s–%s)", m, number(slices.Min(s)), number(slices.Max(s)))
}

// Ratio is the median of s as a multiple of the median of base: "2.5×". It is a dash where one of them has no value, or
// the base is zero.
func (s Series) Ratio(base Series) string {
	if len(s) == 0 || len(base) == 0 || base.Median() == 0 {
		return "–"
	}
	return number(s.Median()/base.Median()) + "×"
}

// of counts the values that are not zero.
func (s Series) of() string {
	n := 0
	for _, v := range s {
		if v != 0 {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, len(s))
}

// number writes three significant digits, and never more than two decimals where the value is above one.
func number(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e7:
		return fmt.Sprintf("%.0f", v)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
