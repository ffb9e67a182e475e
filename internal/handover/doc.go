// Package handover carries values and open files from one process to another over a unix stream socket: each message is its
// length, JSON that is read strictly and up to a bound, and the files behind it as ancillary data (SCM_RIGHTS).
package handover
