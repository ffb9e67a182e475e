// Package fsm is the state machine of one BFD session as a function: a state, what happened and the time go in, a new
// state and what is to be done come out. It owns no socket, no timer and no goroutine, and allocates nothing but the
// text of a change.
//
// Asynchronous mode, active role, no echo. A neighbor that asks for demand mode is sent nothing while both are Up, as it
// wants, and is watched all the same.
//
// Beside the state of the RFC there is a verdict, for who decides about the link: a session that an operator ended at
// either end says nothing about the path (RFC 5882, section 3.2), and neither does one that was never up.
//
// RFCs: 5880 (sections 6.2 to 6.8), 5882 (section 3.2).
package fsm
