// Package kerneltest is a kernel for the tests of the loops: the methods of kernel/rtnl's handle that a reconciler
// needs, in memory, with those of the real kernel's habits that have surprised people. It prints itself as ip's lines.
package kerneltest
