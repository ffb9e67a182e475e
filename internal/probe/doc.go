// Package probe asks targets beyond a link whether packets pass, and nothing but that link: each probe is bound to the
// link's device, its source address and its mark, and says what it really used. What follows from the answers is
// decided by package track.
//
// Each link has one socket per kind and family that its targets share (a connection each for tcp and http). Links are
// probed whether they carry traffic or not: the way back must be known to work before it is needed.
//
// Answers are timed by the kernel, and the socket is read once more before a probe counts as lost: that this process was
// slow never looks like a target that is gone.
package probe
