// Package flowsweep deletes and lists connections for the engine, which must not wait for the kernel.
package flowsweep
