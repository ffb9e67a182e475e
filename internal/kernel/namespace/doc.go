// Package namespace runs code in a network namespace, whichever thread the caller is on. Where the thread is in it
// already, which is always so in the daemon, it needs no privilege; entering another one needs CAP_SYS_ADMIN.
package namespace
