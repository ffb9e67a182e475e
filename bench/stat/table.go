package stat

import (
	"fmt"
	"math"
	"strings"
)

// Column is one figure of a result.
type Column struct {
	Name string // with its unit
	// Ratio adds a column of multiples of the first row's.
	Ratio bool
	// Of counts the rounds in which the value is not zero, "2 of 100".
	Of bool
}

// Result is a case's table: one row per router or variant.
type Result struct {
	Columns []Column
	names   []string
	rows    map[string][]Series
	notes   map[string]string
}

// Add puts one round's values, in the order of the columns, into the row of that name. NaN is none.
func (r *Result) Add(name string, values ...float64) {
	if len(values) != len(r.Columns) {
		panic(fmt.Sprintf("stat: %d values for %d columns", len(values), len(r.Columns)))
	}
	row := r.row(name)
	for i, v := range values {
		if !math.IsNaN(v) {
			row[i] = append(row[i], v)
		}
	}
}

// Fail says, in the row of that name, why it has no value, or not all.
func (r *Result) Fail(name, why string) {
	r.row(name)
	if r.notes == nil {
		r.notes = map[string]string{}
	}
	r.notes[name] = why
}

func (r *Result) row(name string) []Series {
	if r.rows == nil {
		r.rows = map[string][]Series{}
	}
	row, ok := r.rows[name]
	if !ok {
		row = make([]Series, len(r.Columns))
		r.rows[name] = row
		r.names = append(r.names, name)
	}
	return row
}

// Series gives what was added to a row's column.
func (r *Result) Series(name string, column int) Series {
	if row, ok := r.rows[name]; ok {
		return row[column]
	}
	return nil
}

// Markdown writes the table. Ratios are to the first row.
func (r *Result) Markdown() string {
	var b strings.Builder
	head, rule := "| |", "|---|"
	for _, c := range r.Columns {
		head, rule = head+" "+c.Name+" |", rule+"---|"
		if c.Ratio {
			head, rule = head+" × |", rule+"---|"
		}
	}
	b.WriteString(head + "\n" + rule + "\n")
	for i, name := range r.names {
		fmt.Fprintf(&b, "| %s |", name)
		for j, c := range r.Columns {
			if c.Of {
				fmt.Fprintf(&b, " %s |", r.rows[name][j].of())
				continue
			}
			fmt.Fprintf(&b, " %s |", r.rows[name][j])
			if !c.Ratio {
				continue
			}
			if i == 0 {
				b.WriteString(" 1 |")
				continue
			}
			fmt.Fprintf(&b, " %s |", r.rows[name][j].Ratio(r.rows[r.names[0]][j]))
		}
		b.WriteString("\n")
	}
	for _, name := range r.names {
		if why := r.notes[name]; why != "" {
			fmt.Fprintf(&b, "\n%s: %s.\n", name, why)
		}
	}
	return b.String()
}
