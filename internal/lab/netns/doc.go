// Package netns makes network namespaces and what lies in them, through netlink alone.
//
// A namespace has no name in the file system: it lives as long as this process holds it open, so that nothing is left
// behind however the process ends.
package netns
