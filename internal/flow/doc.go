// Package flow holds connections as values, and decides which of them must be moved when links change.
package flow
