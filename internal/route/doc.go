// Package route holds the values that BGP speaks of: prefixes with their attributes, communities, paths.
//
// Everything here is immutable once it is shared: an *Attrs is given to many routes and to several goroutines.
package route
