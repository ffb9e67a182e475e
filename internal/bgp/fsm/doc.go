// Package fsm is BGP's state machine of one neighbor as a function: a state, an event and the time go in, a new state
// and a list of actions come out. It owns no socket, no timer and no goroutine.
//
// RFC 4271 gives each connection a machine of its own and lets them meet in section 6.8. Here the machine is the
// neighbor's, with a place for the connection that we made, one for the connection that we took, and one for a
// connection that comes while a session stands: that is how a neighbor that has restarted unseen shows itself.
//
// RFCs: 4271 (sections 6 and 8), 4724 and 8538 (graceful restart), 5492, 6286 (identifiers), 6608 (FSM error subcodes),
// 8654, 9234 (roles), 9687 (send hold timer).
package fsm
