// Package shape sets up queueing disciplines for limits, on the interfaces that are asked for and on no others.
package shape
