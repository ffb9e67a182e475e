// Package router starts the routers that are compared, each with the same neighbors, and asks them what they know.
package router
