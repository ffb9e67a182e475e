// Package packet encodes and decodes BFD control packets, and judges those that come.
//
// There is no authentication: a packet that has some is discarded, as RFC 5880 asks of a session without it.
//
// RFCs: 5880 (sections 4.1 and 6.8.6).
package packet
