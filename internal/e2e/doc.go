// Package e2e holds tests of the whole: the daemon as it is built, in worlds of the lab, judged by packets and by what the
// kernel and the neighbors say.
package e2e
