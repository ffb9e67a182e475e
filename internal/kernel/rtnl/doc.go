// Package rtnl reads and changes the kernel's nexthop objects, routes, rules, interfaces and neighbors by rtnetlink.
//
// It decides nothing: it takes and gives the values of kstate. Everything that it returns of nexthops, routes and
// rules is ours by number (kstate's layout); what others own is never returned, changed or deleted, with one
// exception that the kernel leaves no way around: an IPv4 route that is put replaces a route with the same table,
// prefix and metric whatever its protocol. Our tables are ours, so a foreign route there is an intruder.
//
// The messages are built here rather than by a library: none has nexthop groups, and one sendmsg for hundreds of
// routes is what makes a full table affordable. A Handle belongs to the network namespace in which it was opened,
// whichever thread uses it later.
package rtnl
