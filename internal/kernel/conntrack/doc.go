// Package conntrack reads and deletes tracked connections by the mark of their link. Entries of other marks, and those
// with none, are never touched.
package conntrack
