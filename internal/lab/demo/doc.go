// Package demo shows an edge at work in the default world, and proves by packets what is claimed of it.
package demo
