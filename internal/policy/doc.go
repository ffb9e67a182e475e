// Package policy decides which received routes a link accepts, and says why it rejects the others.
//
// A verdict has two halves, so that an UPDATE with many prefixes is judged cheaply: the attributes once, each prefix once.
// Sources: RFC 8212 (no route without policy), RFC 4271 section 9.1.2 (own AS), RFC 9234 (only to customer),
// RFC 7454 (martians, first AS, next hop).
package policy
