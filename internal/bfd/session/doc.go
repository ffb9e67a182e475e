// Package session runs BFD with all neighbors: sockets and time around the decisions of package fsm.
//
// One goroutine, on a thread of its own, serves all sessions. On its path it takes no lock that others hold, allocates
// nothing, and waits for nothing but its sockets, so that neither a garbage collection nor a million routes keep it from
// sending. It waits in poll(2) and not in the runtime's poller, which is asked late while all processors are busy. When
// it comes late all the same, it reads what has arrived before it judges who was silent, by the kernel's time of
// arrival: that we are slow never looks like a neighbor that is gone.
//
// A second goroutine calls the sink. Of the changes of one session that the sink is too slow for, it gets the last.
//
// A packet must have arrived with TTL 255 and by the interface of its session, also once discriminators are known: RFC
// 5880, section 6.3, would let a session move to another interface, but here a session is the proof of one link.
//
// RFCs beside those of packet and fsm: 5881 (single hop), 5082 (GTSM).
package session
