// Package engine owns the site's changing state: configuration, routes, tracks. One goroutine takes events, takes a
// burst of them as one batch, asks the deciders, and hands on what follows: the kernel's wanted state to the reconciler,
// announcements to the sessions, a snapshot to everybody who looks. It never waits for the kernel, a neighbor or a
// client, and it reads the clock once per turn.
package engine
