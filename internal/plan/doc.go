// Package plan compares what the kernel holds with what it shall hold and gives the steps from one to the other, in an
// order that never takes a way before the new one works: nexthops, groups, then routes and rules; what is gone last.
package plan
