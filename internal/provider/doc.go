// Package provider holds what is known of the other end of a path, as data: AS, limits, communities by name, timers,
// rules that its documentation states. Nothing here acts; config checks with it, policy accepts by its names.
package provider
