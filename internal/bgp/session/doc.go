// Package session runs BGP with one neighbor: sockets, timers and goroutines around the decisions of package fsm.
//
// One goroutine per neighbor owns the state machine, the Adj-RIB-Out and every decision. Each connection has a reader
// and a writer, which only wait for the network; one more goroutine calls the Sink. Nothing that may take long is done
// by the owner: it hands one buffer at a time to the writer, and one event at a time to the goroutine of the Sink. When
// the Sink is behind, the owner stops taking messages from the reader, so that TCP slows the neighbor down; keepalives
// go on, and the hold timer does not count the time in which we did not listen.
//
// RFCs beside those of the packages message and fsm: 2385 (TCP MD5), 5082 (GTSM), 9687 (send hold timer).
package session
