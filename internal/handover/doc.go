// Package handover carries values and open files from one process to another. Over a unix stream socket, while both run: each
// message is its length, JSON that is read strictly and up to a bound, and the files behind it as ancillary data (SCM_RIGHTS).
// By way of the service manager, where the first may die at any time: it keeps files, and among them records in memory that
// are whole whenever they are read.
package handover
