// Package site is the world around a router under test: network namespaces joined by wires, packets sent through it
// from inside, and what arrives where and when.
package site
