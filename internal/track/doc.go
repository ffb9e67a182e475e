// Package track decides from evidence whether a link is usable. Each kind of evidence has a small state machine with
// time as an input; a link is usable in a family while every track of it that applies is up.
package track
