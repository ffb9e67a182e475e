// Package farside is what stands beyond the edge's links: routers that speak BGP, each a process of its own around
// GoBGP's server, and services that tell their clients what they see of them.
package farside
