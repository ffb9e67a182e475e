// Package table prints rows for people: aligned columns, coloured where the reader is a terminal.
package table

import (
	"io"
	"strings"
	"unicode/utf8"
)

// Tone says how a cell is meant; only a terminal shows it.
type Tone uint8

// Tones.
const (
	Plain Tone = iota
	Good
	Warn
	Bad
	Dim
)

// Cell is a text with a tone.
type Cell struct {
	Text  string
	Tone  Tone
	Right bool // aligned to the right: numbers
}

// Text, Number and the tones build cells.
func Text(s string) Cell   { return Cell{Text: s} }
func Number(s string) Cell { return Cell{Text: s, Right: true} }

// Toned returns the cell with a tone.
func (c Cell) Toned(t Tone) Cell { c.Tone = t; return c }

// Table is a head with rows. Columns that are empty in every row are left out.
type Table struct {
	Head []string
	Rows [][]Cell
}

// Add appends a row.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// Write prints the table.
func (t *Table) Write(w io.Writer, colour bool) error {
	width := make([]int, len(t.Head))
	for _, r := range t.Rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c.Text))
		}
	}
	for i, h := range t.Head {
		if width[i] > 0 || len(t.Rows) == 0 {
			width[i] = max(width[i], utf8.RuneCountInString(h))
		}
	}
	var b strings.Builder
	head := make([]Cell, len(t.Head))
	for i, h := range t.Head {
		head[i] = Cell{Text: h, Tone: Dim, Right: len(t.Rows) > 0 && i < len(t.Rows[0]) && t.Rows[0][i].Right}
	}
	for _, r := range append([][]Cell{head}, t.Rows...) {
		line, gap := "", ""
		for i, c := range r {
			if width[i] == 0 {
				continue
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.Text))
			text := paint(c, colour)
			if c.Right {
				line += gap + pad + text
			} else {
				line += gap + text + pad
			}
			gap = "  "
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func paint(c Cell, colour bool) string {
	code := map[Tone]string{Good: "32", Warn: "33", Bad: "31", Dim: "2"}[c.Tone]
	if !colour || code == "" || c.Text == "" {
		return c.Text
	}
	return "\x1b[" + code + "m" + c.Text + "\x1b[0m"
}
