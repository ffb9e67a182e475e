// Package api serves the published state over HTTP on a unix socket, and is the client of it. Handlers turn values into
// the wire types of api/v1; they compute nothing.
package api
