// Package plan compares what the kernel holds with what it shall hold and gives the steps from one to the other, in an
// order that never takes a way before the new one works: rules, nexthops, groups, then routes; what is gone last.
package plan
