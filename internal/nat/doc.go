// Package nat computes the whole nftables table from the site's links and inside networks: marks of connections,
// translation per path, guards. It is a function from a value to a value; nothing here touches the kernel.
package nat
