// Package feed holds the routes that the far side of a world announces: real prefixes with their paths and communities.
package feed
