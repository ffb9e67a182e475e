// Package fib turns rankings into what the kernel shall hold: nexthop objects, routes, rules. It is pure; the kernel's
// part is to do it, in the order that package plan gives.
//
// A prefix is installed only where the choice changes: where its ranking is another than that of the prefix covering
// it. Every route points at the nexthop group of its ranking, so that a failure is a change of a few groups and of no
// route. The default and every steered prefix are installed once per tier, with growing metrics, so that when the
// kernel deletes what used a lost carrier, a lookup falls to the next tier inside the kernel.
package fib
