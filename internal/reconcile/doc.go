// Package reconcile makes the kernel hold what the engine wants. It owns what is known of the kernel's actual state,
// retries, and a comparison of the whole on a timer and after any error or hint; it decides nothing.
//
// The engine hands over small state (nexthops, rules, the nftables table, sysctls) as a whole and routes as a stream of
// changes. One goroutine, Run, does the work; Submit and the hints only leave word.
package reconcile
