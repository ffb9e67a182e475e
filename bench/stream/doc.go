// Package stream makes what the far side of a measurement says: tables of routes, generated or real, as the bytes of BGP
// UPDATEs that are computed before the clock starts.
package stream
