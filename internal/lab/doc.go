// Package lab raises worlds in network namespaces, runs an edge in them, and asks them what they see.
//
// A program that uses it calls Main first thing: the routers of a world are processes of the same program.
package lab
