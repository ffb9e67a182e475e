// Package linkwatch looks at interfaces and neighbors for the engine: it polls carriers, has neighbors asked again and
// again, and reads all interfaces anew when the kernel says that something changed. It reports what it sees and judges
// nothing.
package linkwatch
